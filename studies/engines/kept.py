"""An engine whose workers stay where one part of a search ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from training.lanes.jobs import Job, Verdict, Working

from ..plan import Plan
from .engine import AbstractEngine, Done, Heard, Lost, Said

# What of a plan its workers are started for; of the rest they are told with every job.
_FOR_WORKERS = ("task", "device", "numerics", "weights_dir", "download", "source")


@final
class KeptEngine(AbstractEngine):
    """Another engine, which is only stopped where a worker has a job, or the next plan wants other workers.

    To start a worker takes seconds, and what it has in memory is of use to the next part of a search.
    """

    def __init__(self, engine: AbstractEngine) -> None:
        self._engine = engine
        self.name, self.workers, self.has_processes = engine.name, engine.workers, engine.has_processes
        self._plan: Plan | None = None
        self._heard: Heard | None = None
        self._busy: set[int] = set()

    def check(self) -> None:
        self._engine.check()

    def start(self, plan: Plan, heard: Heard) -> None:
        self._heard = heard
        if self._plan is not None and _same_workers(self._plan, plan):
            return
        self._end()
        self._engine.start(plan, self._hear)
        self._plan = plan

    def submit(self, worker: int, job: Job) -> None:
        self._busy.add(worker)
        self._engine.submit(worker, job)

    def receive(self) -> Said | None:
        said = self._engine.receive()
        if said is not None and isinstance(said[1], Done | Lost):
            self._busy.discard(said[0])
        return said

    def answer(self, worker: int, verdict: Verdict) -> None:
        self._engine.answer(worker, verdict)

    def stop(self) -> list[Said]:
        """As `AbstractEngine.stop`, but workers without a job stay."""
        return [] if self._plan is not None and not self._busy else self._end()

    def _end(self) -> list[Said]:
        self._plan = None
        self._busy.clear()
        return self._engine.stop()

    def _hear(self, worker: int, working: Working | None) -> None:
        assert self._heard is not None
        self._heard(worker, working)


@contextmanager
def kept(engine: AbstractEngine) -> Iterator[AbstractEngine]:
    """`engine` for several runs of a study, one after the other; its workers end when these are over."""
    keeping = KeptEngine(engine)
    try:
        yield keeping
    finally:
        keeping._end()


def _same_workers(mine: Plan, other: Plan) -> bool:
    return mine.data is other.data and all(getattr(mine, name) == getattr(other, name) for name in _FOR_WORKERS)
