from training.machine.process import configure

# Workers of data loaders import this file too, under another name.
if __name__ == "__main__":
    # Before torch is imported.
    configure()
    from .command import main

    raise SystemExit(main())
