"""The bar of a search: best so far, what was pruned, time left."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from studies import Interrupted, Outcome, Search
from studies import Progress as TrialProgress

from .console import notes, stop_requests

STOPPED_BY_USER = "asked to"


def _run(search: Search) -> None:
    """Runs `search`; one line a trial that ended, and a bar below them where stderr is a terminal.

    Raises:
        Interrupted: the user asked to stop, or the time was up.
    """
    study = search.study
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = notes()
    with stop_requests() as asked_to_stop, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=search.plan.trials)
        ended = study.ended

        def watch(progress: TrialProgress) -> None:
            nonlocal ended
            if asked_to_stop():
                raise Interrupted(STOPPED_BY_USER)
            if progress.step == 0:  # a trial begins; the storage is not asked at every batch
                ended = study.ended
                bar.update(task, description=_description(search, progress.number, ended))
            bar.update(task, completed=min(ended + progress.step / progress.steps, search.plan.trials))

        for outcome in search.run(watch):
            bar.console.print(_line(outcome))


def run_until_stopped(search: Search) -> str:
    """Runs `search` and returns why it ended early; empty where it did not."""
    try:
        _run(search)
    except Interrupted as interruption:
        return str(interruption)
    return ""


def _description(search: Search, number: int, ended: int) -> str:
    best = search.study.best()
    best_text = f"best {100 * best.value:.2f} %" if best is not None and best.value is not None else "no result yet"
    pruned = search.study.counts().get("pruned", 0)
    return f"trial {number} ({ended} of {search.plan.trials} done), {best_text}, {pruned} pruned"


def _line(outcome: Outcome) -> str:
    result = outcome.result
    value = ""
    if result.value is not None and result.n:
        low, high = result.accuracy.ci95
        value = f" {100 * result.value:.2f} % ({100 * low:.1f} to {100 * high:.1f})"
    reason = f", {result.reason}" if result.reason else ""
    return f"trial {outcome.number}: {result.state}{value}, {len(result.curve)} epochs, {result.seconds:.1f} s{reason}"
