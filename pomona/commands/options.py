"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_spaces import TASKS

Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="POMONA_STORAGE",
        help="Journal file, SQLite file (.db, .sqlite), or a database URL. [default: results/studies/journal.log]",
    ),
]
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
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|FILE",
        help="Photos in DIR/<split>/<class>/ or DIR/<class>/, a table, or texts. [default: the task's]",
    ),
]
WeightsDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with pretrained weights, <backbone>.safetensors or .pth.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="DIM=VALUE", help="Hold a dimension at a value. May be repeated.")
]
Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="What computes; auto is the GPU where there is one.")
]
SearchDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="What computes; auto is the GPU where there is one. [default: auto, or the study's]",
    ),
]
Download = Annotated[bool, typer.Option("--download-weights", help="Fetch weights that are not available locally.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out files that are not images.")]
TrustSplit = Annotated[
    bool, typer.Option("--trust-split", help="Keep a folder's split though it has copies of photos on both sides.")
]
TrustTaskFile = Annotated[
    bool,
    typer.Option("--trust-task-file", help="Run the task file that the study names, from a storage of others too."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for programs.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print log lines, and where an error came from.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer and errors only: no notes, no progress.")]
Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder that `pomona train` wrote.")]
