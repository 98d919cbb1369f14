"""The one training loop: `fit`, lanes, and every engine of a search run it.

A `GroupRunner` trains a job to its end. It is a generator: it yields events (`jobs.py`) and is sent verdicts. What can
go wrong with a config is its business, and becomes a result: a loss that is not finite, a metric that is not defined,
memory that does not suffice, an exception. One that ends a whole epoch divides the group, so that one config does not
take the others with it.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch

from search_spaces import InputError, Task, is_numeric

from ..data.splits import Splits
from ..frozen.prefixes import Prefixes
from ..machine.digest import note
from ..machine.errors import Interrupted
from ..machine.interrupts import SaveClock, uninterrupted
from ..models.spec import resolve
from .cross_validation import cross_validate
from .group import LaneGroup
from .group_folder import Saves
from .jobs import Divided, Ended, Epoch, Event, Job, Member, Ready, Saved, Verdict, Working
from .lane_state import LaneState
from .memory_need import MemoryWatch, memory_need
from .results import OUT_OF_MEMORY, EpochResult, FitResult, State
from .robustness import score_shifted

_Figure = TypeVar("_Figure")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

Events = Generator[Event, Verdict | None, None]


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether a device or the machine had no memory left: torch's own error, its CPU allocator's, or Python's."""
    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(phrase in str(problem).lower() for phrase in _OUT_OF_MEMORY)


@dataclass(frozen=True, eq=False)
class _Part:
    """Lanes that go on after `epoch`."""

    members: tuple[Member, ...]
    epoch: int
    states: dict[int, LaneState]
    saves: Saves | None


@dataclass(frozen=True)
class _Problem:
    """What is kept of an exception; its frames would keep tensors alive."""

    reason: str
    text: str
    memory: bool
    needed: tuple[int, int] | None = None

    @staticmethod
    def of(problem: Exception, watch: MemoryWatch | None = None) -> _Problem:
        """`watch` is asked how much memory was needed where that ran out."""
        memory = is_out_of_memory(problem)
        needed = watch.needed(problem) if memory and watch is not None else None
        reason = str(problem) if isinstance(problem, InputError) else f"{type(problem).__name__}: {problem}"
        text = "".join(traceback.format_exception(problem))
        traceback.clear_frames(problem.__traceback__)
        return _Problem(reason.splitlines()[0], text, memory, needed)


def _no_news(_working: Working) -> None:
    pass


@dataclass(eq=False)
class GroupRunner:
    """Trains a job on the data and with the prefixes of this process.

    Attributes:
        splits_at: the data at a resolution.
        saves: where the group is kept after some of its epochs, and when the run is left; None keeps nothing.
        on_batch: called after each training batch. What it or the prefixes' `check_stop` raises passes through, as does
            an `InputError` while training (a full disk); the group is saved as it was after its last whole epoch.
        passes_on: let an exception of a config pass too, unless it is for want of memory.
    """

    task: Task
    job: Job
    splits_at: Callable[[int], Splits]
    prefixes: Prefixes
    saves: Saves | None = None
    on_batch: Callable[[Working], None] = _no_news
    passes_on: bool = False
    _clock: SaveClock = field(default_factory=lambda: SaveClock(), init=False)

    def run(self) -> Events:
        """Trains to the end, however that comes.

        Raises:
            InputError: weights are absent, or the disk is full.
        """
        members = self.job.members
        try:
            spec = resolve(self.task, members[0].config)
        except InputError as problem:
            if self.passes_on:
                raise
            yield self._ended_by(_Problem.of(problem), members)
            return
        self._splits = self.splits_at(spec.input.resolution)
        self._structure = spec.structure(len(self.prefixes.backbone(spec.backbone.name).stages))
        if self.job.open:
            try:
                together = self._group(0).cheaper_together
            except Exception as problem:
                if isinstance(problem, Interrupted):
                    raise
                broken = _Problem.of(problem)
                yield self._ended_by(broken, members)
                return
            verdict = yield Ready(together)
            members += verdict.join if verdict is not None else ()
        epoch, states = self.saves.load(members) if self.saves is not None else (0, {})
        parts = [_Part(members, epoch, states, self.saves)]
        while parts:
            parts[:0] = yield from self._train(parts.pop(0))

    def _group(self, epoch: int) -> LaneGroup:
        return LaneGroup(
            self.task,
            self._splits,
            self._structure,
            epochs=self.job.epochs,
            seed=self.job.seed,
            prefixes=self.prefixes,
            epoch=epoch,
            rewindable=self.saves is not None or len(self.job.members) > 1 or self.job.open,
        )

    def _train(self, part: _Part) -> Generator[Event, Verdict | None, list[_Part]]:
        """Trains a part to its end, or until it breaks and is divided into those that are returned."""
        group = self._group(part.epoch)
        members = {member.key: member for member in part.members if member.left is None or member.left > part.epoch}
        problem = None
        for member in list(members.values()):
            problem = self._add(group, member, part.states.get(member.key))
            if problem is not None and problem.memory and len(members) > 1:
                return (yield from self._divide(group, part, members, problem))
            if problem is not None:
                del members[member.key]
                yield self._ended_by(problem, (member,))
        results = {lane.key: lane.curve[-1] for lane in group.lanes if lane.curve}
        try:
            while True:
                if results and self._is_under_way(group, members):
                    yield from self._judge(group, members, results)
                if not self._is_under_way(group, members):
                    return []
                watch = MemoryWatch(self.prefixes.device)
                try:
                    results = group.train_epoch(lambda done, total: self.on_batch(_working(group, done, total)))
                except Exception as failure:
                    if isinstance(failure, InputError | Interrupted) or not self._is_result(failure):
                        raise
                    problem = _Problem.of(failure, watch)
                else:
                    problem = None
                if problem is not None:
                    with uninterrupted():
                        group.rewind()
                    return (yield from self._broken(group, part, members, problem))
                if self._save_now_and_then(group, part.saves):
                    yield Saved(group.epoch)
        except BaseException as leaving:
            self._save_leaving(group, part.saves, leaving)
            raise

    def _add(self, group: LaneGroup, member: Member, state: LaneState | None) -> _Problem | None:
        try:
            group.add(member.key, member.config, resume=state)
        except Exception as problem:
            if isinstance(problem, Interrupted) or not self._is_result(problem):
                raise
            return _Problem.of(problem)
        return None

    def _is_result(self, problem: Exception) -> bool:
        return not self.passes_on or is_out_of_memory(problem)

    @staticmethod
    def _is_under_way(group: LaneGroup, members: Mapping[int, Member]) -> bool:
        return any(members[lane.key].left is None for lane in group.lanes)

    def _judge(
        self, group: LaneGroup, members: dict[int, Member], results: Mapping[int, EpochResult]
    ) -> Generator[Event, Verdict | None, None]:
        """Tells of an epoch and lets go of the lanes that end with it: they are no `members` any more."""
        reported = {key: result for key, result in results.items() if members[key].left is None}
        ends = {key: self._natural_end(group, key, result) for key, result in reported.items()}
        ended = {key: end for key, end in ends.items() if end is not None}
        if self.job.robust or self.job.cross_validate:
            try:
                ended = self._with_further_figures(group, ended)
            except Interrupted:
                # Their training is done, and that is what counts.
                if ended:
                    yield Ended(ended)
                    group.drop([*ended])
                raise
        verdict = (yield Epoch(group.epoch, reported, ended)) or Verdict()
        stopped = {key: group.result(key, *why) for key, why in verdict.stop.items() if key in reported}
        if stopped:
            yield Ended(stopped)
        gone = [*(ended | stopped), *(key for key in results if members[key].left == group.epoch)]
        group.drop(gone)
        for key in gone:
            del members[key]

    def _with_further_figures(self, group: LaneGroup, ended: dict[int, FitResult]) -> dict[int, FitResult]:
        """The same results with what else the job asks of those that are complete."""
        complete = [key for key, end in ended.items() if end.state == State.COMPLETE]
        results = dict(ended)
        if self.job.robust:
            shifted = self._measured(score_shifted, group, complete, "scored on changed examples")
            for key, robustness in shifted.items():
                seconds, outputs = results[key].seconds + robustness.seconds, results[key].outputs
                if outputs is not None:
                    outputs = replace(outputs, shifted=robustness.outputs)
                results[key] = replace(results[key], robust=robustness.value, outputs=outputs, seconds=seconds)
        if self.job.cross_validate:
            for key, crossed in self._measured(cross_validate, group, complete, "cross-validated").items():
                seconds = results[key].seconds + crossed.seconds
                results[key] = replace(results[key], cross_validated=crossed, seconds=seconds)
        return results

    def _measured(
        self,
        measure: Callable[[LaneGroup, Sequence[int]], dict[int, _Figure]],
        group: LaneGroup,
        keys: Sequence[int],
        wanted: str,
    ) -> dict[int, _Figure]:
        """What is measured of lanes that are complete.

        It may be broken off and done again. What goes wrong in it takes nothing from what the runs came to.
        """
        if not keys:
            return {}
        try:
            return measure(group, keys)
        except Exception as failure:
            if isinstance(failure, InputError | Interrupted) or not self._is_result(failure):
                raise
            problem = _Problem.of(failure)
            note(f"trials are not {wanted}: {problem.reason}")
            if problem.memory:
                free_memory(self.prefixes.device)
            return {}

    def _natural_end(self, group: LaneGroup, key: int, result: EpochResult) -> FitResult | None:
        if not math.isfinite(result.loss):
            return group.result(key, State.INFEASIBLE, diverged(result))
        if not math.isfinite(result.value):
            metric = self.task.metric
            reason = f"{metric} is not defined in epoch {result.epoch}"
            if is_numeric(metric):
                reason += ": predictions that overflow, or one value of the target in all validation rows"
            whole = group.result(key, State.INFEASIBLE, reason)
            return replace(
                whole, value=None, curve=whole.curve[:-1], estimate=None, grouped=None, secondary={}, predictions=()
            )
        return group.result(key, State.COMPLETE) if result.epoch == self.job.epochs else None

    def _broken(
        self, group: LaneGroup, part: _Part, members: Mapping[int, Member], problem: _Problem
    ) -> Generator[Event, Verdict | None, list[_Part]]:
        """After an epoch that broke: what is left of the group, lane by lane, or in halves where memory was short."""
        if len(group) > 1:
            return (yield from self._divide(group, part, members, problem))
        (lane,) = group.lanes
        self._save(group, part.saves)
        if problem.memory:
            self._free_memory()
            need = None if problem.needed is None else memory_need(group, lane.key, problem.needed)
            reason = f"{OUT_OF_MEMORY} {self._structure.batch_size}" + ("" if need is None else f": {need}")
            yield Ended({lane.key: replace(group.result(lane.key, State.INFEASIBLE, reason), memory=need)})
            self._free_memory()
        else:
            yield self._ended_by(problem, (members[lane.key],))
        return []

    def _divide(
        self, group: LaneGroup, part: _Part, members: Mapping[int, Member], problem: _Problem
    ) -> Generator[Event, Verdict | None, list[_Part]]:
        if len(group) == len(members):
            self._save(group, part.saves)
        going_on = [member for member in members.values() if member.left is None]
        states = part.states | {lane.key: group.state(lane.key) for lane in group.lanes if lane.curve}
        group.drop([lane.key for lane in group.lanes])
        if problem.memory:
            self._free_memory()
        size = -(-len(going_on) // 2) if problem.memory else 1
        halves = [tuple(going_on[first : first + size]) for first in range(0, len(going_on), size)]
        yield Divided(tuple(tuple(member.key for member in half) for half in halves), group.epoch, problem.reason)
        return [_Part(half, group.epoch, states, part.saves and part.saves.part(half[0].key)) for half in halves]

    def _free_memory(self) -> None:
        self.prefixes.leave_device()
        free_memory(self.prefixes.device)

    def _ended_by(self, problem: _Problem, members: Sequence[Member]) -> Ended:
        """Each of the members, ended by a problem that is its own."""
        state = State.INFEASIBLE if problem.memory else State.FAILED
        reason = f"out of memory: {problem.reason}" if problem.memory else problem.reason
        result = FitResult(state, reason, None, (), 0.0, self.job.seed)
        running = [member.key for member in members if member.left is None]
        return Ended(dict.fromkeys(running, result), dict.fromkeys(running, problem.text))

    def _save_now_and_then(self, group: LaneGroup, saves: Saves | None) -> bool:
        if saves is None:
            return False
        if not (saves.wanted(group) or (self._clock.due() and group.epoch < group.epochs)):
            return False
        return self._save(group, saves)

    def _save(self, group: LaneGroup, saves: Saves | None, *, leaving: bool = False) -> bool:
        if saves is None or not len(group):
            return False
        with self._clock.saving():
            return saves.save(group, leaving=leaving)

    def _save_leaving(self, group: LaneGroup, saves: Saves | None, leaving: BaseException) -> None:
        try:
            with uninterrupted():
                group.rewind()
                self._save(group, saves, leaving=True)
        except InputError:
            # No room, perhaps. Who asked for the stop is told; after another problem, that one is.
            if not isinstance(leaving, Exception) or isinstance(leaving, Interrupted):
                raise


def diverged(result: EpochResult) -> str:
    return f"diverged: the loss is not finite in epoch {result.epoch}"


def free_memory(device: torch.device) -> None:
    """Gives the device's memory back after it ran out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _working(group: LaneGroup, done: int, total: int) -> Working:
    return Working(len(group), group.epoch, done, total)
