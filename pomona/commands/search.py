"""`pomona search`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ..console import counting, note, print_json
from ..hints import go_on_command, pomona_command
from ..request import request_of_options
from ..streams import AnswerLost
from .options import AsJson, Task, with_search_options

if TYPE_CHECKING:
    from studies import Confirmation, Search, Study

# Of the leaderboard at the end, on a terminal: what was found should still be in sight.
_ROWS = 10
_IN_MEMORY = "the study was in memory only and is gone now"


@with_search_options
def search(task: Task, as_json: AsJson = False, **options: Any) -> None:
    """Search the hyperparameters of a task. Ctrl-C stops cleanly; `pomona resume` goes on.

    Without --data the task's own data is used. A study of the same name goes on where it was, with its own options
    where none are given. --timeout alone is a time, --trials alone a number of trials; with both, whichever comes
    first ends the search. docs/how-to/steer-a-search.md says more.

    Example: pomona search fruit --data photos --set resolution=128 --timeout 10m

    Example: pomona search fruit --set learning_rate=1e-4..1e-2 --set optimizer=adamw --target 0.92

    Example: pomona search fruit --enqueue mine.json --warm-start fruit-1 --trials 40
    """
    request = request_of_options(task, options)
    from studies import prepare_search

    with counting("reading the data") as progress:
        prepared = prepare_search(request, note, progress)
    run_and_show(prepared, as_json=as_json, storage=request.storage)


def run_and_show(
    prepared: Search | Confirmation, *, as_json: bool, storage: str | None, again: str | None = None
) -> None:
    """Runs what was prepared under a progress bar and ends with the leaderboard.

    `again` is the command that goes on where it was stopped; by default that of a search.
    """
    from studies import status_of
    from studies.storage import is_in_memory

    from ..progress import STOPPED_BY_USER, run_until_stopped
    from .show import print_leaderboard

    stopped = run_until_stopped(prepared)
    study, gone = prepared.study, is_in_memory(storage)
    try:
        if as_json:
            print_json(status_of(study))
        else:
            print_leaderboard(study, top=None, rows_on_terminal=_ROWS)
    except AnswerLost:
        # Of a terminal that was closed: what counts then is that everything is saved.
        if stopped != STOPPED_BY_USER:
            raise
    if not gone:
        _say_how_to_use(study, storage)
    if stopped:
        why = stopped if stopped == STOPPED_BY_USER else f"stopped: {stopped}"
        again = again or go_on_command("resume", study, storage=storage)
        note(why if gone else f"{why}; go on with: {again}")
        if stopped == STOPPED_BY_USER:
            raise typer.Exit(130)
    if study.best() is None:
        # Whoever goes on with its winner has to know that there is none, also where the time was up before that.
        raise typer.Exit(1)


def _say_how_to_use(study: Study, storage: str | None) -> None:
    """The command that trains the best so far; where that was interrupted, also the one that keeps it as it is."""
    if (best := study.best()) is None:
        return
    use = pomona_command("train", study.settings.task_argument, from_study=study.name, storage=storage)
    if best.state == "interrupted" and not study.confirmed():
        note(f"use it as it is: {use} --as-saved")
        note(f"train it to its end: {use}")
    else:
        note(f"use it: {use}")
