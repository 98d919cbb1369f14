"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from search_spaces import TASKS
from studies.request import Kind, SearchRequest, declared

# What a command gets of an option of each kind.
_TYPES: dict[Kind, Any] = {
    "text": str | None,
    "path": str | None,
    "folder": Path | None,
    "device": str | None,
    "count": int | None,
    "seed": int | None,
    "seconds": str | None,
    "number": float | None,
    "values": list[str] | None,
    "names": list[str] | None,
    "configs": str | None,
    "flag": bool,
}
_OPTIONS = declared(SearchRequest)


def option_of(name: str, *, default: str | None = None, min: int | None = None) -> Any:
    """The option that `SearchRequest` declares for a field; `default` says in words what else takes its place."""
    option = _OPTIONS[name]
    words = option.default if default is None else default
    return typer.Option(
        option.flag,
        help=f"{option.help} [default: {words}]" if words else option.help,
        metavar=option.metavar or None,
        envvar=option.environment or None,
        min=0 if option.kind == "seed" else min,
    )


def with_search_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `**options`, with each option of `SearchRequest` in their place for typer to see."""
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[:-1]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if option.kind == "flag" else None,
            annotation=Annotated[_TYPES[option.kind], option_of(name)],
        )
        for name, option in _OPTIONS.items()
    ]
    arguments, flags = own[:1], [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own[1:]]
    parameters = [*arguments, *added, *flags]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


Storage = Annotated[str | None, option_of("storage")]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="The name of a study, as `pomona search` printed it.")]


def _task_names(incomplete: str) -> list[str]:
    return [task.name for task in TASKS if task.name.startswith(incomplete)]


Task = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task of `pomona tasks`, or a file of your own that holds one.",
        autocompletion=_task_names,
    ),
]
Data = Annotated[str | None, option_of("data")]
WeightsDir = Annotated[Path | None, option_of("weights_dir")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="DIM=VALUE", help="Give a dimension another value. May be repeated."),
]
Device = Annotated[str, typer.Option(metavar=_OPTIONS["device"].metavar, help=_OPTIONS["device"].help)]
Download = Annotated[bool, option_of("download_weights")]
SkipUnreadable = Annotated[bool, option_of("skip_unreadable")]
TrustSplit = Annotated[bool, option_of("trust_split")]
TrustTaskFile = Annotated[
    bool,
    typer.Option("--trust-task-file", help="Run the task file that the study names, from a storage of others too."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for programs.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print log lines, and where an error came from.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer and errors only: no notes, no progress.")]
Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder that `pomona train` wrote.")]
