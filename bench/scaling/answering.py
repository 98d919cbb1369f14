"""An engine whose worker answers at once, with made-up results: what is left of a search is what a trial costs beside
its training."""

from __future__ import annotations

from typing import final

from studies.engines.engine import AbstractEngine, Done, Heard, Said
from studies.plan import Plan
from training.lanes.jobs import Epoch, Job, Ready, Verdict
from training.lanes.results import EpochResult, FitResult, State
from training.lanes.runner import Events
from training.scoring.intervals import wilson

_EXAMPLES = 500


def made_up(number: int, epochs: int) -> FitResult:
    """The result of a trial. It is better after every epoch than all trials before were then, so that no pruner gives
    it up: each has all of its epochs, and is asked about at every one of them."""
    value = 1 - 1 / (number + 2)
    curve = tuple(
        EpochResult(epoch, epochs, 1.0, 1.0, value * (1 + epoch / epochs) / 2, 1.0, _EXAMPLES, 0, from_kept=True)
        for epoch in range(1, epochs + 1)
    )
    return FitResult(
        State.COMPLETE,
        "",
        curve[-1].value,
        curve,
        float(epochs),
        0,
        wilson(curve[-1].value, _EXAMPLES),
        parameters=1000,
    )


@final
class AnsweringEngine(AbstractEngine):
    """`epochs` counts those that it has said."""

    name = "inline"
    workers = 1
    has_processes = False

    def __init__(self) -> None:
        self.epochs = 0
        self._events: Events | None = None
        self._verdict: Verdict | None = None

    def start(self, plan: Plan, heard: Heard) -> None:
        pass

    def submit(self, worker: int, job: Job) -> None:
        self._events, self._verdict = self._run(job), None

    def receive(self) -> Said | None:
        if self._events is None:
            return None
        verdict, self._verdict = self._verdict, None
        try:
            return 0, self._events.send(verdict)
        except StopIteration:
            self._events = None
            return 0, Done()

    def answer(self, worker: int, verdict: Verdict) -> None:
        self._verdict = verdict

    def stop(self) -> list[Said]:
        self._events = None
        return []

    def _run(self, job: Job) -> Events:
        results = {member.key: made_up(member.key, job.epochs) for member in job.members}
        if job.open:
            # One trial after the other: each costs what it costs alone.
            yield Ready(together=False)
        for epoch in range(1, job.epochs + 1):
            self.epochs += len(results)
            verdict = yield Epoch(
                epoch,
                {key: result.curve[epoch - 1] for key, result in results.items()},
                results if epoch == job.epochs else {},
            )
            assert verdict is None or not verdict.stop, "a made-up trial was given up"
