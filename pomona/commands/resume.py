"""`pomona resume`"""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from ..console import counting, notes
from .options import AsJson, Storage, seconds_of


def resume(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    storage: Storage = None,
    trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Trials in all. [default: as before]")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="10m", help="For this run. [default: as before]")] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a study that was stopped or killed, at the last whole epoch of the trial under way.

    Example: [bold]pomona resume fruit-1 --trials 32[/bold]
    """
    limit = seconds_of(timeout)
    command = shlex.join(["pomona", *sys.argv[1:]])
    from studies import prepare_resume

    from .search import run_and_show

    with counting("reading the data") as progress:
        prepared = prepare_resume(
            study, storage, notes().print, progress, trials=trials, timeout=limit, command=command
        )
    run_and_show(prepared, as_json=as_json, storage=storage)
