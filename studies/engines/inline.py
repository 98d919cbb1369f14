"""The engine that runs trials in this process: the reference for the others, and what a debugger steps through."""

from __future__ import annotations

import functools
import math
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from search_spaces import InputError
from training import (
    EpochResult,
    FitResult,
    LaneGroup,
    Prefixes,
    PrefixStore,
    State,
    backbone_of,
    diverged,
    free_memory,
    from_scratch,
    is_out_of_memory,
    load_backbone,
    load_lane,
    most_unfrozen,
    save_lane,
    splits_for,
    structure_of,
    structure_part,
)

from ..plan import Interrupted, Outcome, Plan, Progress, Watch
from ..records import config_key
from ..study import Proposal, Study
from .engine import AbstractEngine

# A process that is killed loses at most what it did in this time, and an epoch.
_SAVE_AFTER_SECONDS = 30.0
# Trials that a structure gets, in numbers of lanes, before the sampler is asked for another one.
_ROUNDS = 2


@final
class InlineEngine(AbstractEngine):
    """Groups of trials of one structure, one group at a time, in as many lanes as the plan says."""

    def run(self, study: Study, plan: Plan, watch: Watch) -> Iterator[Outcome]:
        run = _Run(study, plan, watch)
        for left in _together(study.left(plan.task.space, plan.trials)):
            yield from run.group(left)
        while (first := study.ask(plan.task.space, plan.trials)) is not None:
            yield from run.group([first])


def _together(left: Sequence[Proposal]) -> list[list[Proposal]]:
    """Trials that were interrupted, by the group that they were in."""
    groups: dict[int, list[Proposal]] = {}
    for proposal in left:
        groups.setdefault(proposal.group, []).append(proposal)
    return list(groups.values())


class _Run:
    """What stays from group to group: weights, prefixes, the clock."""

    def __init__(self, study: Study, plan: Plan, watch: Watch) -> None:
        self.study = study
        self.plan = plan
        self.watch = watch
        self.deadline = time.monotonic() + plan.timeout if plan.timeout is not None else None
        self.prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=plan.weights_dir, download=plan.download),
            numerics=plan.numerics,
            device=plan.device,
            store=PrefixStore(),
            unfrozen=most_unfrozen(plan.task.space),
        )
        # Trials that wait for a lane of an equal config to end, by that lane.
        self.twins: dict[int, list[int]] = {}
        # A database that is away, or a journal that another program has locked, must not outlast a stop or a deadline.
        study.wait_with(functools.partial(self._check, 0))

    def group(self, proposals: Sequence[Proposal]) -> Iterator[Outcome]:
        """Runs trials of one structure to their ends, and others that the sampler puts beside them."""
        # After a kill, some may have been saved an epoch later than others: they can't go on side by side.
        ticks: dict[int, list[Proposal]] = {}
        lanes: dict[str, int] = {}
        for proposal in proposals:
            self._check(0)
            lane = lanes.setdefault(config_key(proposal.config), proposal.number)
            if lane != proposal.number:
                self.twins.setdefault(lane, []).append(proposal.number)
                continue
            state = load_lane(self._file(proposal.number), self._about(proposal))
            done = len(state.curve) if state else 0
            ticks.setdefault(proposal.start - 1 + done, []).append(proposal)
        for tick, those in sorted(ticks.items()):
            yield from self._lanes(those, tick, fills=len(ticks) == 1)

    def _lanes(self, proposals: Sequence[Proposal], tick: int, *, fills: bool) -> Iterator[Outcome]:
        plan = self.plan
        config = proposals[0].config
        first = proposals[0].group
        try:
            stages = len(self.prefixes.backbone(backbone_of(config)).stages)
            group = LaneGroup(
                plan.task,
                splits_for(plan.data, config),
                structure_of(config, stages),
                epochs=plan.epochs,
                seed=proposals[0].seed,
                prefixes=self.prefixes,
                tick=tick,
                rewindable=True,
            )
            together = group.saves_by_company
        except (InputError, Interrupted):
            raise
        except Exception as problem:
            for proposal in proposals:
                yield self._failed(proposal, problem)
            return
        waiting, members = list(proposals), {proposal.number: proposal for proposal in proposals}
        saved = time.monotonic()
        while True:
            yield from self._join(group, waiting)
            if waiting and (unrecorded := self._unrecorded(group)):
                yield from self._judge(group, unrecorded)
            if fills:
                try:
                    for proposal in self._fill(group, first, together):
                        members[proposal.number] = proposal
                        yield from self._join(group, [proposal])
                except (InputError, Interrupted):
                    self._save(group, members)
                    raise
            waiting = []
            if not len(group):
                return
            try:
                results = group.train_epoch(functools.partial(self._on_batch, group))
            except Interrupted:
                group.rewind()
                self._save(group, members)
                raise
            except InputError:
                raise
            except Exception as problem:
                yield from self._apart(group, members, problem)
                return
            try:
                yield from self._judge(group, results)
            except (InputError, Interrupted):
                # The storage failed, or was waited for until the end. The epoch is recorded when the lanes go on.
                self._save(group, members)
                raise
            if time.monotonic() - saved > _SAVE_AFTER_SECONDS:
                self._save(group, members)
                saved = time.monotonic()

    def _fill(self, group: LaneGroup, first: int, together: bool) -> Iterator[Proposal]:
        """New trials of the group's structure for its free places.

        Networks that are trained whole share nothing: trials of one shape would only keep other shapes waiting. What
        is read from a kept prefix costs as much side by side as one after another, and then the next trial's proposal
        knows how this one ended.
        """
        study, plan = self.study, self.plan
        places, most = (plan.lanes, _ROUNDS * plan.lanes) if together else (1, plan.lanes)
        while len(group) < places and study.members(first) < most:
            example = group.lanes[0].config if len(group) else study.trial(first).config
            if from_scratch(example):
                return
            proposal = study.ask(
                plan.task.space, plan.trials, structure=structure_part(example), group=first, start=group.tick + 1
            )
            if proposal is None:
                return
            yield proposal

    def _join(self, group: LaneGroup, proposals: Sequence[Proposal]) -> Iterator[Outcome]:
        for proposal in proposals:
            same = next((lane.key for lane in group.lanes if lane.config == proposal.config), None)
            if same is not None:
                self.twins.setdefault(same, []).append(proposal.number)
                continue
            try:
                state = load_lane(self._file(proposal.number), self._about(proposal))
                group.add(proposal.number, proposal.config, seed=proposal.seed, resume=state)
            except (InputError, Interrupted):
                raise
            except Exception as problem:
                yield self._failed(proposal, problem)

    def _unrecorded(self, group: LaneGroup) -> dict[int, EpochResult]:
        """The last epochs of lanes that were saved when the storage did not take them."""
        last = {lane.key: lane.curve[-1] for lane in group.lanes if lane.curve}
        return {key: epoch for key, epoch in last.items() if not self.study.has_value(key, epoch.epoch)}

    def _judge(self, group: LaneGroup, results: dict[int, EpochResult]) -> Iterator[Outcome]:
        """Records an epoch: which lanes are at their end, and which the pruner gives up."""
        study, epochs = self.study, self.plan.epochs
        ended: dict[int, FitResult] = {}
        with study.together():
            finite = {key: result for key, result in results.items() if math.isfinite(result.loss)}
            study.report_many({key: (result.epoch, result.value) for key, result in finite.items()})
            pruned = study.prune_many(key for key, result in finite.items() if result.epoch < epochs)
            for key, result in results.items():
                if key not in finite:
                    ended[key] = group.result(key, State.INFEASIBLE, diverged(result))
                elif key in pruned:
                    reason = f"pruned after epoch {result.epoch} of {epochs}"
                    ended[key] = group.result(key, State.PRUNED, reason)
                elif result.epoch == epochs:
                    ended[key] = group.result(key, State.COMPLETE)
            for key, outcome in ended.items():
                self._finish(key, outcome)
        group.drop(list(ended))
        for key, outcome in ended.items():
            shutil.rmtree(study.trial_folder(key), ignore_errors=True)
            yield Outcome(key, outcome)

    def _apart(self, group: LaneGroup, members: dict[int, Proposal], problem: Exception) -> Iterator[Outcome]:
        """After an epoch that broke: each lane by itself, so that one does not take the others with it."""
        memory = isinstance(problem, RuntimeError) and is_out_of_memory(problem)
        if memory:
            free_memory(self.plan.device)
        if len(group) > 1:
            group.rewind()
            self._save(group, members)
            for lane in group.lanes:
                yield from self._lanes([members[lane.key]], group.tick, fills=False)
            return
        (lane,) = group.lanes
        if memory:
            reason = f"out of memory with batches of {group.structure.batch_size}"
            result = group.result(lane.key, State.INFEASIBLE, reason)
            self._finish(lane.key, result)
            yield Outcome(lane.key, result)
        else:
            yield self._failed(members[lane.key], problem)

    def _failed(self, proposal: Proposal, problem: Exception) -> Outcome:
        # Whatever a single config breaks must not end the night's search; the traceback says what it was.
        self.study.keep_traceback(proposal.number, "".join(traceback.format_exception(problem)))
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        result = FitResult(State.FAILED, reason, None, (), 0.0, proposal.seed)
        self._finish(proposal.number, result)
        return Outcome(proposal.number, result)

    def _finish(self, number: int, result: FitResult) -> None:
        with self.study.together():
            self.study.finish(number, result)
            for twin in self.twins.pop(number, ()):
                self.study.answer(twin, number)

    def _on_batch(self, group: LaneGroup, done: int, total: int) -> None:
        self._check(sum(len(lane.curve) + done / total for lane in group.lanes) / self.plan.epochs, len(group))

    def _check(self, done: float, running: int = 0) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Interrupted("the time is up")
        self.watch(Progress(running, done))

    def _save(self, group: LaneGroup, members: dict[int, Proposal]) -> None:
        for lane in group.lanes:
            if lane.curve:
                save_lane(self._file(lane.key), group.state(lane.key), self._about(members[lane.key]))

    def _file(self, number: int) -> Path:
        return self.study.trial_folder(number) / "lane.safetensors"

    def _about(self, proposal: Proposal) -> dict[str, Any]:
        """What a saved lane must agree with."""
        return {
            "config": proposal.config,
            "seed": proposal.seed,
            "start": proposal.start,
            "epochs": self.plan.epochs,
            "fingerprint": self.plan.data.fingerprint,
            "numerics": str(self.plan.numerics),
        }
