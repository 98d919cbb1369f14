"""Which trials train together, where, and what becomes of them when something breaks.

A pure object: proposals and events in, jobs and verdicts out. It knows no storage, no torch and no clock, so that what
it decides can be tested on recorded events; `driver.py` carries its questions to the study and its jobs to an engine.

Trials of one structure and one seed train side by side in a *group* that begins together (docs/decisions/0018). A
structure is chosen by a trial that the sampler proposes freely, the *origin*; the trials that share it come in one or
several groups, one after the other, before the sampler is asked for another one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from training.lanes.jobs import Divided, Epoch, Job, Member, Verdict, part_folder
from training.lanes.results import State

from .attempts import MOST_LOSSES, Verdicts
from .scheduled import Ask, Group, Judging, Losses, Order, Trial
from .strategy import Finished, Strategy

# Groups that a structure gets where lanes cost less side by side, before the sampler is asked for another one.
_ROUNDS = 2


@dataclass(eq=False)
class _Origin:
    """A chosen structure: how many trials it has, and may have once that is known."""

    example: Trial
    count: int
    most: int = 0


class Scheduler:
    """Gives each idle worker the next job.

    Args:
        epochs: of a full trial.
        lanes: the most trials that train side by side.
        folder: where groups are saved, each in a folder of its own.
        strategy: what decides which structure is next; without one it is the sampler's free choice.
    """

    def __init__(self, *, epochs: int, lanes: int, folder: Path, strategy: Strategy | None = None) -> None:
        self._epochs = epochs
        self._lanes = lanes
        self._folder = folder
        self._strategy = strategy
        self._queue: list[Group] = []
        self._origins: dict[int, _Origin] = {}
        # Those that get another group as soon as a worker is idle.
        self._ready: list[int] = []
        self._asked: Ask | None = None
        self._trials: int | None = None
        self._exhausted = False
        # The trials under way by what they train; and by these, trials of equal runs, which wait for their ends.
        self._leaders: dict[str, int] = {}
        self._followers: dict[int, list[int]] = {}
        self.out: dict[int, list[Group]] = {}
        """The groups that each worker trains: one, or the parts of one."""

    # --- what is there when a run begins

    def restore(self, groups: Iterable[Group], followers: Mapping[int, Iterable[int]]) -> None:
        """Groups that an earlier process left, and trials that wait for the ends of others."""
        for group in groups:
            self._queue.append(group)
            if self._strategy is not None:
                self._strategy.began(group.first.config)
            self._leaders |= {trial.run: number for number, trial in group.running.items()}
        self._followers = {number: list(waiting) for number, waiting in followers.items()}

    def restore_origin(self, example: Trial, origin: int, count: int, most: int) -> None:
        """A structure that was chosen earlier, with the number of its trials; `most` as it was kept, or 0."""
        self._origins[origin] = _Origin(example, count, most)
        in_queue = any(group.origin == origin for group in self._queue)
        if not in_queue and example.shares and count < most:
            self._ready.append(origin)

    # --- giving out work

    def next(
        self,
        worker: int,
        *,
        left: float = math.inf,
        trials: int | None = None,
        waiting: bool = False,
        passed: float = math.inf,
    ) -> Ask | Order | None:
        """What an idle worker does next; a question is to be answered by `take`. None if there is nothing to do.

        There are `left` seconds and `trials` new trials at most; None is no limit. `passed` as for a strategy. Where
        trials are `waiting` in the storage, they go before what a strategy would choose.
        """
        self._trials = trials
        if self._queue:
            group = self._queue.pop(0)
            self.out[worker] = [group]
            return Order(self._job(group), tuple(group.running))
        while self._ready:
            origin = self._origins[self._ready[0]]
            if origin.count < origin.most:
                example = origin.example
                self._asked = Ask(example.structure, example.seed, origin=self._ready[0])
                return self._asked
            self._ready.pop(0)
        # What waits is perhaps of another driver, which was lost with it.
        if self._exhausted and not (waiting and trials != 0):
            return None
        if self._strategy is not None:
            # What waits is begun as late as anything else, and no later.
            if trials == 0 or (waiting and left <= 0):
                return None
            if waiting:
                self._asked = Ask(waiting=True)
                return self._asked
            if (arm := self._strategy.next(left, trials, passed)) is None:
                return None
            self._asked = Ask(arm.structure | arm.common | arm.first, arm=arm)
            return self._asked
        self._asked = Ask()
        return self._asked

    def take(self, trial: Trial | None, *, waiting: bool = False) -> None:
        """The answer to a question of `next`. There is no trial where there is nothing new, or where others are
        `waiting` in the storage since, which go first: then the same may be asked again."""
        asked, self._asked = self._asked, None
        assert asked is not None
        if asked.waiting and trial is None:
            return  # it ended at once, or another driver took it
        if asked.arm is not None and self._strategy is not None:
            if trial is None and waiting:
                return
            self._strategy.began(asked.structure if trial is None else trial.config)  # type: ignore[arg-type]
            if trial is None:
                self._strategy.done(asked.structure or {})
                self._strategy.in_vain(asked.arm, self._trials)
                return
        if trial is None:
            if asked.origin is None:
                self._exhausted = True
            else:
                self._ready.remove(asked.origin)
            return
        number = trial.number if asked.origin is None else asked.origin
        self._count(number, trial)
        if not self._follows(trial):
            self._queue.append(Group.begun_with(trial, number, asked.arm))

    def places(self, worker: int, *, together: bool, trials: int | None = None, workers: int = 1) -> Iterator[Ask]:
        """Questions for the free places of a group that has not begun; each is to be answered by `join` or ends them.

        Where `trials` are left for so many `workers`, a group gets no more than its worker's share of them: one that
        took all would keep the others idle at the end.
        Networks that are trained whole share nothing: trials of one shape would only keep other shapes waiting. What
        is read from a kept prefix costs as much side by side as one after another, and then the next trial's proposal
        knows how this one ended.
        """
        (group,) = self.out[worker]
        origin = self._origins[group.origin]
        share = sys.maxsize if trials is None or workers == 1 else -(-(trials + group.size) // workers)
        if self._strategy is not None:
            most = group.arm.lanes if group.arm is not None and group.first.shares and together else 1
            common = {} if group.arm is None else group.arm.common
            # No more questions than places: where a structure has few configs left, the answers are trials that are
            # under way already, and it would take all that there are to be.
            for _ in range(min(most, share) - group.size):
                yield Ask(group.first.structure | common, group.first.seed, group.number, group.origin, group.arm)
            return
        if not group.first.shares:
            origin.most = 1
            return
        places, origin.most = (self._lanes, _ROUNDS * self._lanes) if together else (1, self._lanes)
        while group.size < min(places, share) and origin.count < origin.most:
            yield Ask(group.first.structure, group.first.seed, group.number, group.origin)

    def join(self, worker: int, trial: Trial) -> Member | None:
        """The answer to a question of `places`; None where an equal trial is under way: its end will be this one's."""
        (group,) = self.out[worker]
        self._count(group.origin, trial)
        if self._follows(trial):
            return None
        group.size += 1
        group.members[trial.number] = member = Member(trial.number, trial.config)
        group.running[trial.number] = trial
        return member

    # --- what workers say

    def judge(self, worker: int, event: Epoch) -> Judging:
        """What is to be recorded of an epoch, if anything."""
        group = self._of(worker, event.results)
        if event.epoch < group.judged:
            return Judging({}, (), frozenset())
        if event.epoch == group.judged:
            return Judging({}, (), group.pruned)
        good = {
            key: (result.epoch, result.value)
            for key, result in event.results.items()
            if key in group.running and math.isfinite(result.loss) and math.isfinite(result.value)
        }
        going_on = tuple(key for key, (epoch, _) in good.items() if epoch < self._epochs)
        return Judging(good, going_on, None)

    def hopeless(self, worker: int, values: Mapping[int, tuple[int, float]]) -> frozenset[int]:
        """Trials, of those with (epoch, value), that the strategy gives up."""
        if self._strategy is None:
            return frozenset()
        group = self._of(worker, values) if values else None
        arm = None if group is None else group.arm
        if arm is None:
            return frozenset()
        return frozenset(key for key, (_, value) in values.items() if self._strategy.is_hopeless(arm, value))

    def judged(self, worker: int, event: Epoch, pruned: frozenset[int]) -> tuple[Verdict, dict[int, Verdicts]]:
        """The answer to an epoch once it is recorded, and what is to be kept of it before."""
        group = self._of(worker, event.results)
        if event.epoch >= group.judged:
            group.judged, group.pruned = event.epoch, pruned
        reason = f"pruned after epoch {event.epoch} of {self._epochs}"
        stop = {key: (State.PRUNED, reason) for key in sorted(pruned) if key in group.running}
        return Verdict(stop), self._verdicts(group)

    def ended(self, number: int, result: Finished | None = None) -> list[int]:
        """A trial has ended, perhaps with what a strategy learns from: those that waited for it, and end with it."""
        for groups in (*self.out.values(), self._queue):
            for group in groups:
                if (trial := group.running.pop(number, None)) is not None:
                    if self._strategy is not None:
                        self._strategy.ended(result or Finished(number, trial.config, None, 0))
                    group.members[number] = replace(group.members[number], left=group.judged)
        self._leaders = {run: leader for run, leader in self._leaders.items() if leader != number}
        return self._followers.pop(number, [])

    def saved(self, worker: int, epoch: int) -> None:
        self._current(worker).saved = epoch

    def divided(self, worker: int, event: Divided) -> None:
        """A group goes on in parts, at the same worker. It gets no more trials."""
        group = self._of(worker, dict.fromkeys(event.parts[0]))
        self._close(group.origin)
        place = self.out[worker].index(group)
        self.out[worker][place : place + 1] = [self._part(group, part) for part in event.parts]

    def done(self, worker: int) -> int | None:
        """A job was trained to its end. The group whose folder nobody needs any more, if it was the last of it."""
        (first, *_) = groups = self.out.pop(worker)
        self._group_left(first)
        if all(group.part is None for group in groups):
            origin = self._origins.get(first.origin)
            if origin is not None and origin.count < origin.most:
                self._ready.append(first.origin)
        return None if any(group.number == first.number for group in self._under_way()) else first.number

    def lost(self, worker: int, losses: Mapping[int, int]) -> Losses:
        """A worker died. `losses` says how often each trial that it trained was lost: see `training`.

        A group that was lost twice is tried again trial by trial, as one of them may be to blame; a trial that was lost
        twice by itself is given up. All others go back to the queue.
        """
        groups = self.out.pop(worker)
        current = next((group for group in groups if group.running), None)
        back: list[Group] = []
        given_up: tuple[Trial, ...] = ()
        isolated: tuple[int, ...] = ()
        for group in groups:
            if not group.running:
                continue
            times = max((losses.get(number, 0) for number in group.running), default=0) if group is current else 0
            if times < MOST_LOSSES:
                back.append(group)
            elif len(group.running) == 1:
                given_up = tuple(group.running.values())
            else:
                isolated = tuple(group.running)
                self._close(group.origin)
                back += [self._part(group, (number,)) for number in isolated]
        self._queue[:0] = back
        if self._strategy is not None:
            for trial in given_up:
                self._strategy.ended(Finished(trial.number, trial.config, None, 0))
        if groups:
            self._group_left(groups[0])
        return Losses(given_up, isolated)

    def training(self, worker: int) -> tuple[int, ...]:
        """The trials that a worker trains at this moment."""
        return tuple(self._current(worker).running)

    def progress_saved(self, worker: int) -> int:
        """The last epoch that the group is known to be saved after."""
        return self._current(worker).saved

    # ---

    def _current(self, worker: int) -> Group:
        groups = self.out[worker]
        return next((group for group in groups if group.running), groups[0])

    def _of(self, worker: int, keys: Iterable[int]) -> Group:
        known = set(keys)
        return next(group for group in self.out[worker] if known & group.members.keys())

    def _count(self, number: int, trial: Trial) -> None:
        self._origins.setdefault(number, _Origin(trial, 0)).count += 1

    def _follows(self, trial: Trial) -> bool:
        """Whether an equal trial is under way: its end will be this trial's."""
        leader = self._leaders.setdefault(trial.run, trial.number)
        if leader != trial.number:
            self._followers.setdefault(leader, []).append(trial.number)
        return leader != trial.number

    def _close(self, origin: int) -> None:
        if (known := self._origins.get(origin)) is not None:
            known.most = 0
        if origin in self._ready:
            self._ready.remove(origin)

    def _group_left(self, group: Group) -> None:
        """Tells the strategy of a group of which no part is under way or waits any more."""
        if self._strategy is not None and not any(other.number == group.number for other in self._under_way()):
            self._strategy.done(group.first.config)

    def _under_way(self) -> Iterator[Group]:
        for groups in (*self.out.values(), self._queue):
            yield from (group for group in groups if group.running)

    def _verdicts(self, group: Group) -> dict[int, Verdicts]:
        """What has to be kept of all groups under way, and of this one."""
        others = (*self._under_way(), group)
        return {other.name: Verdicts(other.judged, other.pruned, self._most(other)) for other in others if other.judged}

    def _most(self, group: Group) -> int:
        origin = self._origins.get(group.origin)
        return 0 if origin is None or group.part is not None else origin.most

    def _part(self, group: Group, numbers: tuple[int, ...]) -> Group:
        return replace(
            group,
            part=numbers[0],
            members={number: group.members[number] for number in numbers},
            running={number: group.running[number] for number in numbers if number in group.running},
            pruned=group.pruned & set(numbers),
        )

    def _job(self, group: Group) -> Job:
        folder = self._folder / f"{group.number:05d}"
        folders = (folder,) if group.part is None else (part_folder(folder, group.part), folder)
        return Job(
            tuple(group.members.values()),
            group.first.seed,
            self._epochs,
            folders,
            latest=group.judged + 1,
            open=group.is_open,
            robust=group.arm is not None and group.arm.further.robust,
            cross_validate=group.arm is not None and group.arm.further.cross_validate,
        )
