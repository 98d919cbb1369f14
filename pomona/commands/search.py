"""`pomona search`"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces import task_named

from ..arguments import seconds_of
from ..console import counting, note, print_json
from ..hints import pomona_command
from ..streams import AnswerLost
from .options import (
    AsJson,
    Data,
    Download,
    SearchDevice,
    Set,
    SkipUnreadable,
    Storage,
    Task,
    TrustSplit,
    WeightsDir,
)

if TYPE_CHECKING:
    from studies import Confirmation, Search

_IN_MEMORY = "the study was in memory only and is gone now"


def search(
    task: Task,
    data: Data = None,
    weights_dir: WeightsDir = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="The study's name. [default: TASK-1, TASK-2, ...]")
    ] = None,
    storage: Storage = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Trials in all. [default: what suits the machine]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="E", help="Epochs of a full trial. [default: what suits the machine]")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="10m",
            help="For the trials, without reading the data. [default: what suits the machine; none with --trials]",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", min=0, help="Of all that is random; one seed, one result. [default: 0]")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="inline", help="What runs the trials. [default: inline]")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(metavar="N", help="Trials that train side by side. [default: by the trials]")
    ] = None,
    device: SearchDevice = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            metavar="hyperband|median|none", help="How trials that lead nowhere are given up. [default: hyperband]"
        ),
    ] = None,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    trust_split: TrustSplit = False,
    download_weights: Download = False,
    as_json: AsJson = False,
) -> None:
    """Search the hyperparameters of a task. Ctrl-C stops cleanly; `pomona resume` goes on.

    Without --data the task's own data is used. A study of the same name goes on where it was, with its own options
    where none are given.

    Example: pomona search fruit --data photos --set resolution=128 --timeout 10m
    """
    fixed = task_named(task).space.parse(set_ or [])
    limit = seconds_of(timeout)
    from studies import SearchRequest, prepare_search
    from studies.location import without_password

    request = SearchRequest(
        task=task,
        data=data,
        weights_dir=weights_dir,
        study=study,
        storage=storage,
        trials=trials,
        epochs=epochs,
        timeout=limit,
        seed=seed,
        engine=engine,
        lanes=lanes,
        device=device,
        pruner=pruner,
        fixed=fixed,
        skip_unreadable=skip_unreadable,
        trust_split=trust_split,
        download=download_weights,
        command=shlex.join(["pomona", *(without_password(argument) for argument in sys.argv[1:])]),
    )
    with counting("reading the data") as progress:
        prepared = prepare_search(request, note, progress)
    run_and_show(prepared, as_json=as_json, storage=storage)


def run_and_show(
    prepared: Search | Confirmation, *, as_json: bool, storage: str | None, again: str | None = None
) -> None:
    """Runs what was prepared under a progress bar and ends with the leaderboard.

    `again` is the command that goes on where it was stopped; by default that of a search.
    """
    from studies.storage import is_in_memory

    from ..progress import STOPPED_BY_USER, run_until_stopped
    from .show import print_leaderboard

    stopped = run_until_stopped(prepared)
    study, gone = prepared.study, is_in_memory(storage)
    try:
        if as_json:
            print_json(study.status())
        else:
            print_leaderboard(study, top=None)
    except AnswerLost:
        # Of a terminal that was closed: what counts then is that everything is saved.
        if stopped != STOPPED_BY_USER:
            raise
    if stopped:
        why = stopped if stopped == STOPPED_BY_USER else f"stopped: {stopped}"
        again = again or pomona_command("resume", study.name, storage=storage)
        note(why if gone else f"{why}; go on with: {again}")
        if stopped == STOPPED_BY_USER:
            raise typer.Exit(130)
    elif not gone and study.best() is not None:
        task = study.settings.task_argument
        note(f"use it: {pomona_command('train', task, from_study=study.name, storage=storage)}")
