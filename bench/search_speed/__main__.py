from .command import main

# The processes of the methods import this file too, under another name.
if __name__ == "__main__":
    raise SystemExit(main())
