"""`pomona predict`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..console import print_answer, print_table
from .options import AsJson, Device


def predict(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A folder that `pomona train` wrote, or a file that `pomona export` did."),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Name what is on photos.

    Example: [bold]pomona predict checkpoints/fruit-1 apple.jpg banana.jpg[/bold]
    """
    from ..use import answers_for

    answers = answers_for(model, images, device)
    if as_json:
        print_answer(json.dumps(answers, indent=2))
    else:
        rows = [[answer["path"], answer["label"], f"{100 * answer['probability']:.1f}"] for answer in answers]
        print_table(["image", "class", "probability %"], rows)
