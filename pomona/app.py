"""The commands put together. Heavy imports happen inside the commands, so that `--help` is quick."""

from __future__ import annotations

import functools
import inspect
import logging
import platform
from collections.abc import Callable
from typing import Annotated, Any

import typer

from training.machine.process import SWITCH, configure

from .commands.bench import bench
from .commands.cache import cache
from .commands.confirm import confirm
from .commands.dashboard import dashboard
from .commands.data import data
from .commands.data_get import get
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.leaderboard import leaderboard
from .commands.options import Quiet, Verbose
from .commands.predict import predict
from .commands.resume import resume
from .commands.search import search
from .commands.status import status
from .commands.studies import studies
from .commands.tasks import tasks
from .commands.train import train
from .commands.worker import worker
from .console import print_answer, set_verbosity

_log = logging.getLogger("pomona")
COMMANDS = (
    tasks,
    search,
    resume,
    worker,
    confirm,
    status,
    leaderboard,
    dashboard,
    train,
    evaluate,
    predict,
    export,
    cache,
)

app = typer.Typer(
    name="pomona",
    epilog="Example: pomona search fruit --data photos --timeout 10m, then pomona leaderboard fruit-1",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Help is plain text: brackets in it are brackets.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version() -> str:
    from . import __version__

    return __version__


@app.callback(invoke_without_command=True)
def pomona(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print pomona's version and exit; with --verbose also what it tells its process, which "
            f"{SWITCH}=off switches off.",
        ),
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Search the hyperparameters of transfer-learning tasks, and use what was found."""
    set_verbosity(verbose=verbose, quiet=quiet)
    if version:
        print_answer("\n".join([f"pomona {_version()}", *(configure().lines if verbose else ())]))
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


def _with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """The command with --verbose and --quiet among its own options too: people write them at the end of the line."""

    @functools.wraps(command)
    def run(*arguments: Any, verbose: bool, quiet: bool, **options: Any) -> None:
        if verbose or quiet:
            set_verbosity(verbose=verbose, quiet=quiet)
        _log.debug("pomona %s, Python %s on %s", _version(), platform.python_version(), platform.platform())
        command(*arguments, **options)

    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("verbose", Verbose), ("quiet", Quiet))
    ]
    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


for _command in COMMANDS:
    app.command()(_command)
data.command()(get)
for _commands in (app, data, studies):
    for _registered in _commands.registered_commands:
        assert _registered.callback is not None
        _registered.callback = _with_verbosity(_registered.callback)
# Without a command of its own it lists, and so is a command itself.
assert studies.registered_callback is not None
assert studies.registered_callback.callback is not None
studies.registered_callback.callback = _with_verbosity(studies.registered_callback.callback)
app.add_typer(data)
app.add_typer(studies)
app.add_typer(bench)
