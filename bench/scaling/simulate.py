"""A search by many workers in simulated time: the real scheduler, recorded trials, and a clock that jumps.

Nothing is trained and nothing is stored: a worker that was given a job says what the recorded trials said, after as
many seconds. The protocol is that of `studies.driver`. Answers take no time: how long the scheduler thinks is measured,
and stands beside the result. Workers share nothing: each computes by itself, once, what a structure needs before it can
be trained.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from bench.costs import from_here
from search_spaces import Config
from studies import Study
from studies.records import config_key
from studies.scheduled import Ask, Order, Trial
from studies.scheduler import Scheduler
from training import environment
from training.lanes.jobs import Epoch, Job
from training.lanes.results import EpochResult, FitResult, State

from .pruning import Judge
from .recorded import RecordedTrial, Recording, Shape, recording_of
from .runs import Simulated, SimulationRun

_P = ParamSpec("_P")
_R = TypeVar("_R")
_SEED = 0


class _Deal:
    """Hands out drawn trials, each once, in their order, or the next one of a structure."""

    def __init__(self, drawn: Sequence[RecordedTrial]) -> None:
        self._drawn = drawn
        self._free = deque(range(len(drawn)))
        self._of_shape: dict[str, deque[int]] = {}
        for place, trial in enumerate(drawn):
            self._of_shape.setdefault(trial.shape, deque()).append(place)
        self._is_given = [False] * len(drawn)

    def next(self, structure: Config | None) -> RecordedTrial | None:
        places = self._free if structure is None else self._of_shape.get(config_key(structure), deque())
        while places:
            place = places.popleft()
            if not self._is_given[place]:
                self._is_given[place] = True
                return self._drawn[place]
        return None


@dataclass(eq=False)
class _Work:
    """A worker's job: its trials that have not ended by their numbers, and the last epoch that was said of them."""

    trials: dict[int, RecordedTrial]
    shape: Shape
    epoch: int = 0


class Simulation:
    """One search. `given` are the trials by their numbers, `ended` how many epochs each trained, and its value or None
    where it was pruned."""

    def __init__(
        self, recording: Recording, drawn: Sequence[RecordedTrial], *, workers: int, lanes: int, pruner: str
    ) -> None:
        self.given: list[RecordedTrial] = []
        self.ended: dict[int, tuple[int, float | None]] = {}
        self._recording = recording
        self._deal = _Deal(drawn)
        self._scheduler = Scheduler(epochs=recording.epochs, lanes=lanes, folder=Path("trials"))
        self._judge = Judge(pruner, recording.study, recording.direction, recording.epochs)
        self._workers, self._trials = workers, len(drawn)
        self._work: dict[int, _Work] = {}
        # Those without a job, the lowest first, and since when they are.
        self._idle = list(range(workers))
        self._idle_since = [0.0] * workers
        self._computed: list[set[str]] = [set() for _ in range(workers)]
        # When a worker says something next; of equal times, who was there first.
        self._agenda: list[tuple[float, int, int]] = []
        self._turns = itertools.count()
        self._now = self._last_order = 0.0
        self._busy = self._decided = 0.0
        self._events = self._commits = 0

    def run(self) -> Simulated:
        """From the first trial to the last."""
        self._give_out()
        while self._agenda:
            self._now, _, worker = heapq.heappop(self._agenda)
            self._events += 1
            if self._work[worker].epoch:
                self._said_epoch(worker)
            else:
                self._said_ready(worker)
            self._give_out()
        return self._result()

    # --- giving out work

    def _give_out(self) -> None:
        while self._idle:
            match self._timed(self._scheduler.next, self._idle[0]):
                case Ask() as question:
                    self._timed(self._scheduler.take, self._asked(question))
                case Order(job, _):
                    self._begin(heapq.heappop(self._idle), job)
                case None:
                    return  # nor for any other worker

    def _asked(self, question: Ask) -> Trial | None:
        if (recorded := self._deal.next(question.structure)) is None:
            return None
        number = len(self.given)
        self.given.append(recorded)
        self._judge.begin()
        shape = self._recording.shapes[recorded.shape]
        # One that was drawn twice is two trials: of equal ones the scheduler would train the first alone.
        config = recorded.config | {"drawn": number}
        return Trial(number, config, _SEED, shape.structure, shape.shares)

    def _begin(self, worker: int, job: Job) -> None:
        trials = {member.key: self.given[member.key] for member in job.members}
        self._work[worker] = _Work(trials, self._recording.shapes[next(iter(trials.values())).shape])
        self._events += 1
        self._last_order = self._now
        self._says(worker, 0.0)

    # --- what workers say

    def _said_ready(self, worker: int) -> None:
        work = self._work[worker]
        left = self._trials - len(self.given)
        questions = self._scheduler.places(worker, together=work.shape.together, trials=left, workers=self._workers)
        while (question := self._timed(next, questions, None)) is not None:
            if (trial := self._asked(question)) is None:
                break
            if self._timed(self._scheduler.join, worker, trial) is not None:
                work.trials[trial.number] = self.given[trial.number]
        self._train(worker)

    def _said_epoch(self, worker: int) -> None:
        work = self._work[worker]
        event = self._epoch(work)
        self._commits += 1
        judging = self._timed(self._scheduler.judge, worker, event)
        self._judge.report(judging.values)
        pruned = self._judge.pruned(judging.questions)
        verdict, _ = self._timed(self._scheduler.judged, worker, event, pruned)
        for number, result in event.ended.items():
            self._end(work, number, result.value)
        for number in verdict.stop:
            self._end(work, number, None)
        if work.trials:
            self._train(worker)
            return
        self._events += 1
        self._timed(self._scheduler.done, worker)
        del self._work[worker]
        self._idle_since[worker] = self._now
        heapq.heappush(self._idle, worker)

    def _epoch(self, work: _Work) -> Epoch:
        epoch, epochs = work.epoch, self._recording.epochs
        values = {number: trial.values[epoch - 1] for number, trial in work.trials.items()}
        results = {k: EpochResult(epoch, epochs, 0.0, 0.0, value, 0.0, 0, 0) for k, value in values.items()}
        ended = values if epoch == epochs else {}
        return Epoch(
            epoch, results, {k: FitResult(State.COMPLETE, "", value, (), 0.0, _SEED) for k, value in ended.items()}
        )

    def _end(self, work: _Work, number: int, value: float | None) -> None:
        assert not self._timed(self._scheduler.ended, number), "equal trials"
        self._judge.end(number, value)
        self.ended[number] = (work.epoch, value)
        del work.trials[number]

    def _train(self, worker: int) -> None:
        """Lets a worker train the next epoch."""
        work = self._work[worker]
        seconds = sum(trial.seconds for trial in work.trials.values())
        shape = next(iter(work.trials.values())).shape
        if shape not in self._computed[worker]:
            self._computed[worker].add(shape)
            seconds += work.shape.extra
        work.epoch += 1
        self._busy += seconds
        self._says(worker, seconds)

    def _says(self, worker: int, seconds: float) -> None:
        heapq.heappush(self._agenda, (self._now + seconds, next(self._turns), worker))

    # ---

    def _timed(self, decide: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> _R:
        started = time.perf_counter()
        result = decide(*arguments, **named)
        self._decided += time.perf_counter() - started
        return result

    def _result(self) -> Simulated:
        ends = self.ended.values()
        pruned = [epochs for epochs, value in ends if value is None]
        best = max if self._recording.direction == "maximize" else min
        waited = (self._now - max(since, self._last_order) for since in self._idle_since)
        return Simulated(
            workers=self._workers,
            makespan=self._now,
            busy=self._busy,
            waited=sum(waited),
            trials=len(ends),
            pruned=len(pruned),
            epochs=sum(epochs for epochs, _ in ends),
            wasted=sum(pruned),
            operations=len(self.given) + self._commits + len(ends),
            events=self._events,
            best=best((value for _, value in ends if value is not None), default=None),
            decided=self._decided,
        )


@dataclass(frozen=True)
class Wanted:
    """Which simulations there are to be: so many trials, drawn with a seed, with each of these numbers of workers."""

    workers: tuple[int, ...]
    trials: int
    seed: int
    command: str


def simulated(study: Study, wanted: Wanted, pruner: str, lanes: int, note: Callable[[str], None]) -> SimulationRun:
    """Raises InputError where the study has no trial that came to its end."""
    recording = recording_of(study)
    drawn = recording.drawn(wanted.trials, wanted.seed)
    best = max if recording.direction == "maximize" else min
    found = []
    for workers in wanted.workers:
        started = time.perf_counter()
        simulation = Simulation(recording, drawn, workers=workers, lanes=lanes, pruner=pruner)
        found.append(one := simulation.run())
        seconds = time.perf_counter() - started
        note(
            f"{study.name}, {lanes} side by side, {pruner}, {workers} workers: {one.makespan:.1f} s in {seconds:.1f} s"
        )
    settings = study.settings
    return SimulationRun(
        study=study.name,
        task=settings.task,
        source=settings.source,
        fingerprint=settings.fingerprint,
        study_command=from_here(settings.command),
        direction=recording.direction,
        pruner=pruner,
        lanes=lanes,
        trials=wanted.trials,
        epochs=recording.epochs,
        seed=wanted.seed,
        recorded=len(recording.trials),
        structures=len(recording.shapes),
        best=best(trial.values[-1] for trial in drawn),
        simulated=tuple(found),
        command=wanted.command,
        environment=environment(torch.device("cpu")),
        load=os.getloadavg()[0],
    )
