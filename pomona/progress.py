"""The bar of a search: best so far, what was pruned, time left."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

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
        TextColumn("{task.fields[left]}"),
    )
    ran = False
    with stop_requests() as asked_to_stop, bar(*columns) as shown:
        task = shown.add_task("", total=1.0, left="")
        started = time.monotonic()
        drawn = -_REDRAW_SECONDS
        at_start: float | None = None

        def watch(progress: TrialProgress) -> None:
            nonlocal drawn, at_start
            if asked_to_stop():
                raise Interrupted(STOPPED_BY_USER)
            # Called at every batch: neither the storage nor the terminal keeps pace with that.
            if (now := time.monotonic()) - drawn >= _REDRAW_SECONDS:
                drawn, ended = now, search.ended
                if at_start is None and progress.running:
                    # Trials that go on have epochs behind them that took none of this run's time.
                    at_start = ended + progress.done
                begun_with = float(ended) if at_start is None else at_start
                done = Done(ended + progress.done, begun_with, search.wanted, now - started, search.plan.timeout)
                text = _description(search, progress.running, ended)
                shown.update(task, completed=done.share, left=_left_text(done.seconds_left), description=text)

        # Closed in any case, so that what is under way is saved.
        with contextlib.closing(search.run(watch)) as outcomes:
            for outcome in outcomes:
                ran = True
                note(_line(outcome, study.settings.metric) + _confirms(search, outcome.number))
    # Where nothing was run, it was said before.
    if ran and (why := search.why_ended(time.monotonic() - started)):
        note(why)


@dataclass(frozen=True)
class Done:
    """How far a run is: `trials` of the `wanted` ones, those `at_start` included, and `seconds` of its `timeout`.

    None is no limit. Trials under way count in parts.
    """

    trials: float
    at_start: float
    wanted: int | None
    seconds: float
    timeout: float | None

    @property
    def share(self) -> float:
        """Of the trials or of the time, whichever ends the run first as it stands; from 0 to 1."""
        by_trials = self.trials / self.wanted if self.wanted else 0.0
        by_time = self.seconds / self.timeout if self.timeout else 0.0
        return min(max(by_trials, by_time), 1.0)

    @property
    def seconds_left(self) -> float | None:
        """None where nothing is known yet."""
        found = [] if self.timeout is None else [self.timeout - self.seconds]
        if self.wanted is not None and self.trials > self.at_start:
            found.append(self.seconds * (self.wanted - self.trials) / (self.trials - self.at_start))
        return max(min(found), 0.0) if found else None


def _left_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left"


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
    trials = ended if search.wanted is None else f"{ended} of {search.wanted}"
    return f"{trials} trials done, {running} under way, {best_text}, {pruned} pruned"


def _confirms(search: Search | Confirmation, number: int) -> str:
    record = search.study.trial(number)
    return "" if record.confirms is None else f", {record.note}"


def _line(outcome: Outcome, metric: str) -> str:
    result = outcome.result
    value = ""
    if result.value is not None and result.estimate is not None:
        value = f" {value_text(metric, result.value)} ({interval_text(metric, result.estimate.ci95)})"
    reason = f", {result.reason}" if result.reason else ""
    return f"trial {outcome.number}: {result.state}{value}, {len(result.curve)} epochs, {result.seconds:.1f} s{reason}"
