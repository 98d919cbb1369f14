from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported.
    configure()
    from .command import main

    raise SystemExit(main())
