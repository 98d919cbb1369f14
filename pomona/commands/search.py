"""`pomona search`"""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces import task_named

from ..console import counting, notes, print_answer
from ..hints import command_line
from .options import (
    AsJson,
    Data,
    Device,
    Download,
    Set,
    SkipUnreadable,
    Storage,
    TrustSplit,
    WeightsDir,
    seconds_of,
)

if TYPE_CHECKING:
    from studies import Search, Study

_IN_MEMORY = "the study was in memory only and is gone now"


def search(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task of `pomona tasks`, or a file of your own that holds one.")
    ],
    data: Data = None,
    weights_dir: WeightsDir = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="[default: TASK-1, TASK-2, ...]")] = None,
    storage: Storage = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="[default: what suits the machine]")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="E", help="[default: what suits the machine]")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="10m", help="Stop after this time.")] = None,
    seed: Annotated[int, typer.Option(metavar="S", min=0)] = 0,
    engine: Annotated[str, typer.Option(metavar="inline", help="What runs the trials.")] = "inline",
    lanes: Annotated[
        int | None, typer.Option(metavar="N", help="Trials that train side by side. \\[default: by the trials]")
    ] = None,
    device: Device = "auto",
    pruner: Annotated[str, typer.Option(metavar="hyperband|median|none")] = "hyperband",
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    trust_split: TrustSplit = False,
    download_weights: Download = False,
    as_json: AsJson = False,
) -> None:
    """Search the hyperparameters of a task. Ctrl-C stops cleanly; `pomona resume` goes on.

    Without --data the task's own data is used. A study of the same name goes on where it was.

    Example: [bold]pomona search fruit --data photos --set resolution=128 --timeout 10m[/bold]
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
        prepared = prepare_search(request, notes().print, progress)
    run_and_show(prepared, as_json=as_json, storage=storage)


def run_and_show(prepared: Search, *, as_json: bool, storage: str | None) -> None:
    """Runs a prepared search under a progress bar and ends with the leaderboard."""
    from studies.storage import is_in_memory

    from ..progress import STOPPED_BY_USER, run_until_stopped
    from .show import print_leaderboard

    stopped = run_until_stopped(prepared)
    study = prepared.study
    if as_json:
        print_answer(json.dumps(study.status(), indent=2))
    else:
        print_leaderboard(study, top=None)
    if stopped:
        notes().print(f"stopped: {stopped}; {_how_to_go_on(study, storage)}", markup=False)
        if stopped == STOPPED_BY_USER:
            raise typer.Exit(130)
    elif is_in_memory(storage):
        notes().print(f"{_IN_MEMORY}; name a file with --storage to keep a study", markup=False)
    elif study.best() is not None:
        options = {"--from-study": study.name}
        train = command_line("train", study.settings.task_argument, storage=storage, options=options)
        notes().print(f"use it: {train}", markup=False)


def _how_to_go_on(study: Study, storage: str | None) -> str:
    from studies.storage import is_in_memory

    if is_in_memory(storage):
        return _IN_MEMORY
    return f"go on with: {command_line('resume', study.name, storage=storage)}"
