"""The engine whose worker is this process: the reference for the others, and what a debugger steps through."""

from __future__ import annotations

from typing import final

from training.lanes.jobs import Job, Verdict, Working
from training.lanes.runner import Events

from ..plan import Plan
from .engine import AbstractEngine, Done, Heard, Said
from .worker import Worker


@final
class InlineEngine(AbstractEngine):
    """Work is done while something is received."""

    name = "inline"
    workers = 1
    has_processes = False

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._events: Events | None = None
        self._verdict: Verdict | None = None

    def start(self, plan: Plan, heard: Heard) -> None:
        def check(working: Working | None) -> None:
            heard(0, working)

        self._worker = Worker(plan, plan.data, check)

    def submit(self, worker: int, job: Job) -> None:
        assert self._worker is not None
        self._events, self._verdict = self._worker.run(job), None

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
        events, self._events = self._events, None
        if events is not None:
            events.close()
        return []
