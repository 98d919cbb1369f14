from training.machine.process import configure

# The processes of the methods import this file too, under another name.
if __name__ == "__main__":
    # Before torch is imported.
    configure()
    from .command import main

    raise SystemExit(main())
