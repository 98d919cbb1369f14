"""`pomona predict`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import note, print_json, print_table
from .options import AsJson, Device


def predict(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A folder that `pomona train` wrote, or a file that `pomona export` did."),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Photos; CSV files with a header; or text files, one text a line."),
    ],
    device: Device = "auto",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Answer for the other files where some can't be read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Name what is on photos, tell the number of each row of a table, or the class of each line of a text file.

    A CSV file names its columns in the first line, those of the training among them in any order.

    Examples:

    pomona predict checkpoints/fruit-1 apple.jpg banana.jpg

    pomona predict checkpoints/bonus-1 staff.csv

    pomona predict checkpoints/sms_spam-1 messages.txt --json
    """
    from training.machine.display import number_text

    from ..use import answers_for

    predictions = answers_for(model, files, device, skip_unreadable, note)
    if as_json:
        print_json(predictions)
    elif "value" in predictions[0]:
        print_table(["example", "value"], [[answer["path"], number_text(answer["value"])] for answer in predictions])
    else:
        rows = [[answer["path"], answer["label"], f"{100 * answer['probability']:.1f}"] for answer in predictions]
        print_table(["example", "class", "probability %"], rows)
