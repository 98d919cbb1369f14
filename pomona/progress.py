"""The bar of a search: best so far, what was pruned, time left."""

from __future__ import annotations

import contextlib
import time

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from search_spaces import interval_text, value_text
from studies import Confirmation, Interrupted, Outcome, Search
from studies import Progress as TrialProgress

from .console import bar, described, note
from .stopping import stop_requests

_REDRAW_SECONDS = 0.5
STOPPED_BY_USER = "stopped by user"


def _run(search: Search | Confirmation) -> None:
    """Runs a search or a confirmation; a line for each trial that ended, and a bar where stderr is a terminal.

    Raises:
        Interrupted: the user asked to stop, or the time was up.
    """
    study = search.study
    columns = (
        described(),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with stop_requests() as asked_to_stop, bar(*columns) as shown:
        task = shown.add_task("", total=search.wanted)
        drawn = -_REDRAW_SECONDS

        def watch(progress: TrialProgress) -> None:
            nonlocal drawn
            if asked_to_stop():
                raise Interrupted(STOPPED_BY_USER)
            # Called at every batch: neither the storage nor the terminal keeps pace with that.
            if (now := time.monotonic()) - drawn >= _REDRAW_SECONDS:
                drawn, ended = now, search.ended
                completed = min(ended + progress.done, search.wanted)
                shown.update(task, completed=completed, description=_description(search, progress.running, ended))

        # Closed in any case, so that what is under way is saved.
        with contextlib.closing(search.run(watch)) as outcomes:
            for outcome in outcomes:
                note(_line(outcome, study.settings.metric) + _confirms(search, outcome.number))


def run_until_stopped(search: Search | Confirmation) -> str:
    """Runs a search or a confirmation and returns why it ended early; empty where it did not."""
    try:
        _run(search)
    except Interrupted as interruption:
        return str(interruption)
    return ""


def _description(search: Search | Confirmation, running: int, ended: int) -> str:
    if isinstance(search, Confirmation):
        return f"{ended} of {search.wanted} runs on fresh seeds done, {running} under way"
    best = search.study.best()
    metric = search.study.settings.metric
    best_text = (
        f"best {value_text(metric, best.value)}" if best is not None and best.value is not None else "no result yet"
    )
    pruned = search.study.counts().get("pruned", 0)
    return f"{ended} of {search.wanted} trials done, {running} under way, {best_text}, {pruned} pruned"


def _confirms(search: Search | Confirmation, number: int) -> str:
    return f", {search.study.trial(number).note}" if isinstance(search, Confirmation) else ""


def _line(outcome: Outcome, metric: str) -> str:
    result = outcome.result
    value = ""
    if result.value is not None and result.estimate is not None:
        value = f" {value_text(metric, result.value)} ({interval_text(metric, result.estimate.ci95)})"
    reason = f", {result.reason}" if result.reason else ""
    return f"trial {outcome.number}: {result.state}{value}, {len(result.curve)} epochs, {result.seconds:.1f} s{reason}"
