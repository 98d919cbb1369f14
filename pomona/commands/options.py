"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from search_spaces import InputError

Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="POMONA_STORAGE",
        help="Journal file, SQLite file (.db, .sqlite), or a database URL. \\[default: results/studies/journal.log]",
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
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")]
Download = Annotated[bool, typer.Option("--download-weights", help="Fetch weights that are not at hand.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out files that are no image.")]
TrustSplit = Annotated[
    bool, typer.Option("--trust-split", help="Keep a folder's split though it has copies of photos on both sides.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder that `pomona train` wrote.")]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_of(text: str | None) -> float | None:
    """`45s`, `10m`, `1.5h` or plain seconds.

    Raises:
        InputError: it is none of them.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", text.strip())
    if match is None:
        raise InputError(f"a time is written 45s, 10m or 1.5h, not {text!r}")
    return float(match[1]) * _UNITS[match[2]]
