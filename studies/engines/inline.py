"""The engine that runs trials in this process: the reference for the others, and what a debugger steps through."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

from search_spaces import InputError, is_numeric
from training import (
    EpochResult,
    FitResult,
    LaneGroup,
    Prefixes,
    PrefixStore,
    SaveClock,
    State,
    diverged,
    free_memory,
    is_out_of_memory,
    load_backbone,
    most_unfrozen,
    resolve,
    splits_for,
    structure_part,
    uninterrupted,
)

from ..attempts import MOST_LOSSES
from ..plan import Interrupted, Outcome, Plan, Progress, Watch
from ..proposals import Proposal
from ..records import run_key
from ..study import Study
from .engine import AbstractEngine
from .recovery import Restart, SavedGroups, usable

CHECK_SECONDS = 0.5
"""Of work between two looks at the deadline and at whether the user wants to stop."""
# Trials that a structure gets, in numbers of lanes, before the sampler is asked for another one.
_ROUNDS = 2
# A group that broke gets no more trials.
_NO_GROUP = -1


@final
class InlineEngine(AbstractEngine):
    """Groups of trials of one structure, one group at a time, in as many lanes as the plan says."""

    def run(self, study: Study, plan: Plan, watch: Watch) -> Iterator[Outcome]:
        run = _Run(study, plan, watch)
        try:
            for left in _by_group(study.left(plan.task.space, plan.trials)):
                yield from run.resume(left)
            if (unfilled := run.saved.unfilled()) is not None:
                yield from run.lanes(unfilled)
            while (first := study.ask(plan.task.space, plan.trials)) is not None:
                yield from run.lanes(Restart.new(first))
        except BaseException as left:
            try:
                run.save_under_way()
            except InputError:
                # No room, perhaps. Who asked for the stop is told; after another problem, that one is.
                if isinstance(left, Interrupted | KeyboardInterrupt):
                    raise
            finally:
                # Whatever it was, this process still lives: it does not die of the trials under way.
                with contextlib.suppress(Exception):
                    study.release()
            raise


def _by_group(left: Sequence[Proposal]) -> list[list[Proposal]]:
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
        self.saved = SavedGroups(study, plan)
        self.deadline = time.monotonic() + plan.timeout if plan.timeout is not None else None
        self.prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=plan.weights_dir, download=plan.download),
            numerics=plan.numerics,
            device=plan.device,
            store=PrefixStore(),
            unfrozen=most_unfrozen(plan.task.space),
            check_stop=self._check_between,
        )
        self.progress, self.checked = Progress(0, 0), time.monotonic()
        # The group that trains with its trials, and the tick up to which the storage has their values: a lane that was
        # saved ahead of that would go on behind a gap.
        self.under_way: tuple[LaneGroup, Restart] | None = None
        self.recorded = 0
        # Trials that wait for a lane of an equal config to end, by that lane.
        self.duplicates: dict[int, list[int]] = {}
        # A database that is away, or a journal that another program has locked, must not outlast a stop or a deadline.
        study.wait_with(lambda: self._check(self.progress))

    def lanes(self, restart: Restart) -> Iterator[Outcome]:
        """Runs a group to its end, with the trials that the sampler puts in its lanes."""
        yield from self._lanes(restart)
        self.saved.remove(restart.group)

    def resume(self, left: Sequence[Proposal]) -> Iterator[Outcome]:
        """Goes on with the trials of a group that were interrupted."""
        first_of: dict[str, Proposal] = {}
        for proposal in left:
            first = first_of.setdefault(run_key(proposal.config, proposal.seed), proposal)
            if first is not proposal:
                self.duplicates.setdefault(first.number, []).append(proposal.number)
        running = list(first_of.values())
        separate = any(proposal.separate for proposal in running)
        if not separate and len(running) > 1 and any(proposal.lost >= MOST_LOSSES for proposal in running):
            # One of them is to blame for both times, and the others must not go with it.
            running, separate = self.study.separate(running), True
        for lanes in [[proposal] for proposal in running] if separate else [running]:
            if lanes[0].lost >= MOST_LOSSES:
                yield self._given_up(lanes[0])
            else:
                self.study.begin(proposal.number for proposal in lanes)
                yield from self._lanes(self.saved.restart(lanes))
        self.saved.remove(left[0].group)

    def _lanes(self, restart: Restart) -> Iterator[Outcome]:
        self._check(Progress(0, 0))
        first = restart.members[0].proposal
        try:
            spec = resolve(self.plan.task, first.config)
        except InputError as problem:
            for proposal in restart.running:
                yield self._failed(proposal, problem)
            return
        backbone = self.prefixes.backbone(spec.backbone.name)
        splits = splits_for(self.plan.data, spec.input.resolution, self.prefixes.check_stop)
        try:
            group = LaneGroup(
                self.plan.task,
                splits,
                spec.structure(len(backbone.stages)),
                epochs=self.plan.epochs,
                seed=first.seed,
                prefixes=self.prefixes,
                tick=restart.epoch,
                rewindable=True,
            )
            together = group.saves_by_company
        except Interrupted:
            raise
        except Exception as problem:
            for proposal in restart.running:
                yield self._failed(proposal, problem)
            return
        waiting = [m for m in restart.members if m.proposal.number in restart.states or m.proposal.start > group.tick]
        self.recorded = min(restart.epoch, restart.judged)
        # A storage that was away took neither the last values of the lanes nor what followed from them.
        unjudged = restart.epoch >= restart.judged and bool(restart.states)
        saves = SaveClock()
        while True:
            for member in list(waiting):
                if member.proposal.number in restart.states or member.proposal.start == group.tick + 1:
                    waiting.remove(member)
                    yield from self._join(group, restart, member.proposal)
            if unjudged:
                unjudged = False
                last = {lane.key: lane.curve[-1] for lane in group.lanes if lane.curve}
                yield from self._judge(group, restart, last)
            if group.tick >= restart.judged and not restart.alone:
                for proposal in self._fill(group, restart.group, together):
                    if not self._is_duplicate(group, proposal):
                        restart = restart.with_member(proposal)
                        yield from self._join(group, restart, proposal)
            if not len(group):
                if not waiting:
                    return
                group.tick = min(member.proposal.start for member in waiting) - 1
                continue
            self.under_way = group, restart
            try:
                results = group.train_epoch(functools.partial(self._on_batch, group))
            except (InputError, Interrupted):
                raise
            except Exception as problem:
                yield from self._broken(group, restart, problem)
                return
            yield from self._judge(group, restart, results)
            if saves.due():
                with saves.saving():
                    self.saved.save(group, restart)

    def _fill(self, group: LaneGroup, first: int, together: bool) -> Iterator[Proposal]:
        """New trials of the group's structure for its free places.

        Networks that are trained whole share nothing: trials of one shape would only keep other shapes waiting. What
        is read from a kept prefix costs as much side by side as one after another, and then the next trial's proposal
        knows how this one ended.
        """
        study, plan = self.study, self.plan
        places, most = (plan.lanes, _ROUNDS * plan.lanes) if together else (1, plan.lanes)
        while len(group) < places and study.members(first) < most:
            example = group.lanes[0] if len(group) else study.trial(first)
            if resolve(plan.task, example.config).backbone.from_scratch:
                return
            structure, start = structure_part(example.config), group.tick + 1
            proposal = study.ask(
                plan.task.space, plan.trials, structure=structure, seed=example.seed, group=first, start=start
            )
            if proposal is None:
                return
            yield proposal

    def _is_duplicate(self, group: LaneGroup, proposal: Proposal) -> bool:
        """Whether a lane of an equal config and seed is under way: its end will be this trial's."""
        run = (proposal.config, proposal.seed)
        same = next((lane.key for lane in group.lanes if (lane.config, lane.seed) == run), None)
        if same is not None:
            self.duplicates.setdefault(same, []).append(proposal.number)
        return same is not None

    def _join(self, group: LaneGroup, restart: Restart, proposal: Proposal) -> Iterator[Outcome]:
        number = proposal.number
        try:
            group.add(number, proposal.config, seed=proposal.seed, resume=restart.states.get(number))
        except Interrupted:
            raise
        except Exception as problem:
            if any(number == running.number for running in restart.running):
                with self.study.together():
                    self.study.keep_verdicts(restart.name, group.tick, ())
                    outcome = self._failed(proposal, problem)
                yield outcome

    def _judge(self, group: LaneGroup, restart: Restart, results: dict[int, EpochResult]) -> Iterator[Outcome]:
        """Records an epoch: which lanes are at their end, and which the pruner gives up.

        An epoch that was recorded before the process died is not recorded again.
        """
        study, epochs = self.study, self.plan.epochs
        members = {member.proposal.number: member for member in restart.members}
        over = {key for key, result in results.items() if members[key].is_over(result)}
        group.drop(list(over))
        if group.tick < restart.judged:
            self.recorded = group.tick
            return
        ended: dict[int, FitResult] = {}
        with study.together():
            results = {key: result for key, result in results.items() if key not in over}
            good = {key: result for key, result in results.items() if usable(result)}
            pruned = restart.pruned
            if group.tick > restart.judged:
                study.report_many({key: (result.epoch, result.value) for key, result in good.items()})
                pruned = frozenset(study.prune_many(key for key, result in good.items() if result.epoch < epochs))
                study.keep_verdicts(restart.name, group.tick, pruned)
            for key, result in results.items():
                if key not in good:
                    ended[key] = self._unusable(group, key, result)
                elif key in pruned:
                    reason = f"pruned after epoch {result.epoch} of {epochs}"
                    ended[key] = group.result(key, State.PRUNED, reason)
                elif result.epoch == epochs:
                    ended[key] = group.result(key, State.COMPLETE)
            for key, outcome in ended.items():
                self._finish(key, outcome)
            self.recorded = group.tick
        group.drop(list(ended))
        for key, outcome in ended.items():
            yield Outcome(key, outcome)

    def _unusable(self, group: LaneGroup, key: int, result: EpochResult) -> FitResult:
        if not math.isfinite(result.loss):
            return group.result(key, State.INFEASIBLE, diverged(result))
        metric = self.plan.task.metric
        reason = f"{metric} is not defined in epoch {result.epoch}"
        if is_numeric(metric):
            reason += ": predictions that overflow, or one value of the target in all validation rows"
        whole = group.result(key, State.INFEASIBLE, reason)
        return replace(whole, value=None, curve=whole.curve[:-1], estimate=None, grouped=None, beside={}, answers=())

    def _broken(self, group: LaneGroup, restart: Restart, problem: Exception) -> Iterator[Outcome]:
        """After an epoch that broke: each lane by itself, so that one does not take the others with it."""
        self.under_way = None
        memory = _is_memory(problem)
        if memory:
            free_memory(self.plan.device)
        running = [proposal for proposal in restart.running if self.study.is_open(proposal.number)]
        if len(group) > 1 or len(running) > 1:
            group.rewind()
            self.saved.save(group, restart)
            group.drop([lane.key for lane in group.lanes])
            for proposal in self.study.separate(running):
                yield from self._lanes(self.saved.restart([proposal]))
            return
        for proposal in running:
            with self.study.together():
                self.study.keep_verdicts(_NO_GROUP, 0, ())
                if memory and len(group):
                    reason = f"out of memory with batches of {group.structure.batch_size}"
                    outcome = self._ended(proposal, group.result(proposal.number, State.INFEASIBLE, reason))
                else:
                    outcome = self._failed(proposal, problem)
            yield outcome

    def _given_up(self, proposal: Proposal) -> Outcome:
        # Not failed: the sampler is to learn from it.
        reason = "lost twice: the process died while it trained"
        return self._ended(proposal, FitResult(State.INFEASIBLE, reason, None, (), 0.0, proposal.seed))

    def _failed(self, proposal: Proposal, problem: Exception) -> Outcome:
        # Whatever a single config breaks must not end the night's search; the traceback says what it was.
        self.study.keep_traceback(proposal.number, "".join(traceback.format_exception(problem)))
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        state = State.FAILED
        if isinstance(problem, InputError):
            reason = str(problem)
        elif _is_memory(problem):
            state, reason = State.INFEASIBLE, f"out of memory: {reason}"
        return self._ended(proposal, FitResult(state, reason, None, (), 0.0, proposal.seed))

    def _ended(self, proposal: Proposal, result: FitResult) -> Outcome:
        self._finish(proposal.number, result)
        return Outcome(proposal.number, result)

    def _finish(self, number: int, result: FitResult) -> None:
        with self.study.together():
            self.study.finish(number, result)
            for duplicate in self.duplicates.pop(number, ()):
                self.study.answer(duplicate, number)

    def _on_batch(self, group: LaneGroup, done: int, total: int) -> None:
        epochs = sum(len(lane.curve) + done / total for lane in group.lanes)
        self._check(Progress(len(group), epochs / self.plan.epochs))

    def _check(self, progress: Progress) -> None:
        self.progress, self.checked = progress, time.monotonic()
        if self.deadline is not None and self.checked > self.deadline:
            raise Interrupted("the time is up")
        self.watch(progress)

    def _check_between(self) -> None:
        """Within work that has no progress of its own: a frozen stage, a batch that is scored, a photo."""
        if time.monotonic() - self.checked >= CHECK_SECONDS:
            self._check(self.progress)

    def save_under_way(self) -> None:
        """Saves the lanes as they were after their last whole epoch, though the storage may not have taken that."""
        if self.under_way is None:
            return
        group, restart = self.under_way
        with uninterrupted():
            group.rewind()
            if group.tick - self.recorded in (0, 1):
                self.saved.save(group, restart)


def _is_memory(problem: Exception) -> bool:
    return isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and is_out_of_memory(problem))
