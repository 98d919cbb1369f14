"""The command line: `main` takes the arguments and returns the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .owner import intruder


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 wrong input, 2 wrong usage, 130 stopped by the user."""
    if (sentence := intruder()) is not None:
        return _error(sentence)
    # Only now is it sure that these are ours.
    from search_spaces import InputError

    from .app import app

    try:
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name="pomona")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except InputError as problem:
        return _error(str(problem))
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def run() -> None:
    """The console script."""
    raise SystemExit(main())


def _error(sentence: str) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return 1
