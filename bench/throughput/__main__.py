from .command import main

# Workers of data loaders import this file too, under another name.
if __name__ == "__main__":
    raise SystemExit(main())
