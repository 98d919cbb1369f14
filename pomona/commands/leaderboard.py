"""`pomona leaderboard`"""

from __future__ import annotations

from typing import Annotated

import typer

from search_spaces import InputError

from ..console import print_answer
from .options import AsJson, Storage, Study

_FORMATS = ("table", "csv", "md", "json")


def leaderboard(
    study: Study,
    storage: Storage = None,
    form: Annotated[
        str, typer.Option("--format", metavar="table|csv|md|json", help="The form of the answer.")
    ] = "table",
    top: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")] = None,
    confirmations: Annotated[
        bool, typer.Option("--confirmations", help="Also list the trials of `pomona confirm`, one a seed.")
    ] = False,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="The row of the ensemble in csv and json too; people see it anyway.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rank the trials of a study: value, n, intervals, what differs, what it cost, and why others ended early.

    First come those that `pomona confirm` trained again on fresh seeds, by the lower bound of their mean. The row
    "ensemble" is the mean of several trials, where that is better on the validation split than one alone.

    Example: pomona leaderboard fruit-1 --format md > fruit.md
    """
    if form not in _FORMATS:
        raise InputError(f"unknown format {form!r}: {', '.join(_FORMATS)}")
    from studies import open_study, to_csv, to_json

    from .show import markdown_leaderboard, print_leaderboard, rows_of

    opened = open_study(study, storage)
    if as_json or form == "json":
        print_answer(to_json(rows_of(opened, confirmations, ensemble=ensemble)[:top]))
    elif form == "csv":
        print_answer(to_csv(rows_of(opened, confirmations, ensemble=ensemble)[:top]))
    elif form == "md":
        print_answer(markdown_leaderboard(opened, top, confirmations=confirmations, ensemble=True))
    else:
        print_leaderboard(opened, top, confirmations=confirmations, ensemble=True)
