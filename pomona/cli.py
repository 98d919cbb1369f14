"""The command line: `main` takes the arguments and returns the exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from .owner import intruder
from .printable import one_line
from .streams import AnswerLost, standard_streams


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 wrong input, 2 wrong usage, 130 stopped by the user.

    Where stdout can't be written that is 1 too, and 0 where its reader (head, less) has seen enough.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with standard_streams():
        try:
            # Before any work that would be for nothing.
            sys.stdout.flush()
            code = _run(arguments)
            sys.stdout.flush()
        except AnswerLost as lost:
            return 0 if lost.reason is None else _error(f"the answer can't be written to stdout: {lost.reason}")
        return code


def run() -> None:
    """The console script."""
    raise SystemExit(main())


def _run(arguments: list[str]) -> int:
    if (sentence := intruder()) is not None:
        return _error(sentence)
    # Only now is it sure that these are ours.
    from search_spaces import InputError
    from training.machine.process import configure

    # Before anything imports torch.
    configure()
    from .app import app
    from .stopping import interruptible

    try:
        with interruptible():
            app(args=arguments, prog_name="pomona")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except InputError as problem:
        logging.getLogger("pomona").debug("where it came from:", exc_info=problem)
        return _error(str(problem))
    except OSError as problem:
        # Of a place that nobody thought of: a folder without permission, a name that is too long.
        logging.getLogger("pomona").debug("where it came from:", exc_info=problem)
        where = f"{problem.filename}: " if problem.filename is not None else ""
        return _error(f"{where}{problem.strerror or problem}")
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    return 0


def _error(sentence: str) -> int:
    sys.stderr.write(f"error: {one_line(sentence)}\n")
    return 1
