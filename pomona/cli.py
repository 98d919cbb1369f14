"""The command line. Heavy imports happen inside the commands, so that `--help` is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from search_spaces import InputError

from .commands.dashboard import dashboard
from .commands.evaluate import evaluate
from .commands.leaderboard import leaderboard
from .commands.predict import predict
from .commands.resume import resume
from .commands.search import search
from .commands.status import status
from .commands.tasks import tasks
from .commands.train import train
from .owner import check_owner

COMMANDS = (tasks, search, resume, status, leaderboard, dashboard, train, evaluate, predict)

app = typer.Typer(
    name="pomona",
    help="Search the hyperparameters of transfer-learning tasks, and use what was found.",
    epilog="Example: pomona search fruit --data photos --timeout 10m, then pomona leaderboard fruit-1",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    app.command()(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 wrong input, 2 wrong usage, 130 stopped by the user."""
    try:
        check_owner()
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name="pomona")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201 - the command line's own voice
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough. What is still buffered has nowhere to go.
        sys.stdout = None  # type: ignore[assignment]
        return 0
    return 0


def run() -> None:
    """The console script."""
    raise SystemExit(main())
