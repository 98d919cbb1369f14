"""`pomona confirm`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import seconds_of
from ..console import counting, note
from ..hints import go_on_command, typed_command
from .options import AsJson, Download, Storage, Study, TrustTaskFile, option_of


def confirm(
    study: Study,
    storage: Storage = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="The best N trials. [default: 3]")] = 3,
    seeds: Annotated[int, typer.Option(metavar="S", min=1, help="Fresh seeds for each of them. [default: 5]")] = 5,
    timeout: Annotated[
        str | None, typer.Option(metavar="10m", help="For the runs of this call. [default: no limit]")
    ] = None,
    weights_dir: Annotated[Path | None, option_of("weights_dir", default="as before")] = None,
    download_weights: Download = False,
    trust_task_file: TrustTaskFile = False,
    as_json: AsJson = False,
) -> None:
    """Train the best trials of a study again on fresh seeds: what they are worth without the luck of the search.

    The seed decides the order of the data, the initial weights, dropout and the augmented views. What is there already
    is not trained again: a later call with more seeds adds to it, and one that was stopped goes on. The leaderboard
    then begins with the mean of each over its seeds, its 95 % interval, and the luck that its search value held. Only
    trials that ran to their end are confirmed.

    Example: pomona confirm fruit-1 --top 3 --seeds 5
    """
    limit = seconds_of(timeout)
    from studies import prepare_confirmation

    from .search import run_and_show

    with counting("reading the data") as progress:
        prepared = prepare_confirmation(
            study,
            storage,
            note,
            progress,
            top=top,
            seeds=seeds,
            timeout=limit,
            command=typed_command(),
            weights_dir=weights_dir,
            download_weights=download_weights,
            trust_task_file=trust_task_file,
        )
    again = go_on_command("confirm", prepared.study, storage=storage, top=top, seeds=seeds)
    run_and_show(prepared, as_json=as_json, storage=storage, again=again)
