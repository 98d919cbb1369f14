"""`pomona resume`"""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from ..arguments import seconds_of
from ..console import counting, note
from .options import AsJson, Storage, Study, TrustTaskFile


def resume(
    study: Study,
    storage: Storage = None,
    trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Trials in all. [default: as before]")] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="10m", help="For the trials of this run, without reading the data. [default: as before]"),
    ] = None,
    trust_task_file: TrustTaskFile = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a study that was stopped or killed, at the last whole epoch of the trial under way.

    Example: pomona resume fruit-1 --trials 32
    """
    limit = seconds_of(timeout)
    command = shlex.join(["pomona", *sys.argv[1:]])
    from studies import prepare_resume

    from .search import run_and_show

    with counting("reading the data") as progress:
        prepared = prepare_resume(
            study,
            storage,
            note,
            progress,
            trials=trials,
            timeout=limit,
            command=command,
            trust_task_file=trust_task_file,
        )
    run_and_show(prepared, as_json=as_json, storage=storage)
