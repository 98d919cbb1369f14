"""Runs a study as `pomona resume` does, and says all that happens on stdout: `python -m tests.chaos.driver ORDERS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from search_spaces import InputError
from studies import Progress
from studies.driver import run_study
from studies.engines import AbstractEngine, LocalEngine
from studies.engines.engine import Done, Heard, Lost, Said
from studies.placement import Placement
from studies.plan import Outcome, Plan
from training.lanes.jobs import Ended, Epoch, Event, Job, Saved, Verdict, Working

from .clock import let_clock_jump
from .disk import fill_disk
from .place import Orders, Place
from .said import say

# Less than the records of a trial.
_ROOM = 500


class SayingEngine(AbstractEngine):
    """The local engine, with one trial at a worker, which says what it carries."""

    name = LocalEngine.name

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._engine = LocalEngine(Placement(workers))
        self._pids: dict[int, int] = {}
        self._trials: dict[int, int] = {}
        self._epochs: dict[int, Epoch] = {}
        # Those that were given a trial, and gave no sign of training it yet.
        self._silent: set[int] = set()

    def start(self, plan: Plan, heard: Heard) -> None:
        def overheard(worker: int, working: Working | None) -> None:
            self._say_processes()
            if working is not None:
                self._say_training(worker)
            heard(worker, working)

        self._engine.start(plan, overheard)
        self._say_processes()

    def submit(self, worker: int, job: Job) -> None:
        (member,) = job.members
        self._engine.submit(worker, job)
        self._say_processes()
        self._trials[worker] = member.key
        self._silent.add(worker)
        say("job", worker=worker, trial=member.key)

    def receive(self) -> Said | None:
        said = self._engine.receive()
        if said is not None:
            self._say(*said)
        return said

    def answer(self, worker: int, verdict: Verdict) -> None:
        self._engine.answer(worker, verdict)
        # An epoch is answered when it is in the journal.
        if (event := self._epochs.pop(worker, None)) is not None:
            say("recorded", worker=worker, trial=self._trials[worker], epoch=event.epoch, ended=bool(event.ended))

    def stop(self) -> list[Said]:
        return self._engine.stop()

    def _say(self, worker: int, event: Event | Done | Lost) -> None:
        trial = self._trials[worker]
        match event:
            case Epoch(epoch):
                self._say_training(worker)
                self._epochs[worker] = event
                say("epoch", worker=worker, trial=trial, epoch=epoch)
            case Saved(epoch):
                say("saved", worker=worker, trial=trial, epoch=epoch)
            case Ended():
                say("ended", worker=worker, trial=trial)
            case Lost(reason):
                say("lost", worker=worker, trial=trial, reason=reason)
            case _:
                pass

    def _say_training(self, worker: int) -> None:
        if worker in self._silent:
            self._silent.remove(worker)
            say("training", worker=worker, trial=self._trials[worker])

    def _say_processes(self) -> None:
        for worker, pid in self._engine.processes().items():
            if self._pids.get(worker) != pid:
                self._pids[worker] = pid
                say("process", worker=worker, pid=pid)


def say_outcome(outcome: Outcome) -> None:
    result = outcome.result
    curve = [(epoch.epoch, epoch.value) for epoch in result.curve]
    say("outcome", trial=outcome.number, state=result.state, reason=result.reason, value=result.value, curve=curve)


def drive(orders: Orders) -> None:
    place, ended = Place(Path(orders.folder)), 0
    if orders.clock_jumps:
        let_clock_jump()
    study = place.study(to_run=True)
    with study.running():
        for outcome in run_study(study, place.plan(orders), SayingEngine(orders.workers), _nothing):
            say_outcome(outcome)
            ended += 1
            if orders.full_after == ended:
                fill_disk(place.journal.stat().st_size + _ROOM)
    say("finished")


def _nothing(_progress: Progress) -> None:
    pass


def main() -> int:
    try:
        drive(Orders(**json.loads(sys.argv[1])))
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
