"""Where a group of lanes goes on after a kill: all of its lanes at one epoch, so that it becomes what it would have.

Lanes are saved together, in a folder that appears as a whole. After a kill the group goes back to the last such folder
and trains the epochs since then again, without a word to the storage: with every lane that it had then, those that have
ended since included, as neighbours change a lane's sums in their last digits. From the last verdicts on, it goes on.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from training import EpochResult, LaneGroup, LaneState, State, load_lane, save_lane

from ..leftovers import remove_ours
from ..plan import Plan
from ..proposals import Proposal
from ..records import TrialRecord, run_key
from ..study import Study

_UNFINISHED = "unfinished-"


def usable(result: EpochResult) -> bool:
    """Whether a trial can go on after the epoch: a metric may be no number where the loss is one."""
    return math.isfinite(result.loss) and math.isfinite(result.value)


@dataclass(frozen=True)
class Member:
    """A trial of a group; `ended` is its record where it ended before the group goes on."""

    proposal: Proposal
    ended: TrialRecord | None = None

    def is_over(self, result: EpochResult) -> bool:
        """Whether an ended trial left its group after this epoch."""
        if self.ended is None:
            return False
        return not usable(result) or (self.ended.state != State.INFEASIBLE and result.epoch >= self.ended.epochs)

    def was_at(self, epoch: int) -> bool:
        """Whether the trial was in its group when this epoch of the group had ended, and had trained in it."""
        return self.proposal.start <= epoch < self.last

    @property
    def last(self) -> float:
        """The last epoch of the group that the trial trains in, as far as is known."""
        if self.ended is None:
            return math.inf
        # One that diverged left after the epoch that followed its last good one.
        return self.proposal.start - 1 + self.ended.epochs + (self.ended.state == State.INFEASIBLE)


@dataclass(frozen=True)
class Restart:
    """A group that goes on after `epoch` of its epochs, or a trial that left its group and goes on `alone`.

    `members` are in the order in which they joined. Up to the epoch `judged` all has been recorded, but perhaps the
    ends of the trials that the pruner gave up then, `pruned`. `epoch` may be one later, if the storage was away.
    """

    members: tuple[Member, ...]
    epoch: int
    judged: int
    pruned: frozenset[int] = frozenset()
    states: Mapping[int, LaneState] = field(default_factory=dict)

    @classmethod
    def new(cls, proposal: Proposal) -> Self:
        return cls((Member(proposal),), proposal.start - 1, proposal.start - 1)

    @property
    def alone(self) -> bool:
        return self.members[0].proposal.separate

    @property
    def group(self) -> int:
        return self.members[0].proposal.group

    @property
    def name(self) -> int:
        """What the study knows its verdicts by."""
        return self.members[0].proposal.number if self.alone else self.group

    @property
    def running(self) -> list[Proposal]:
        return [member.proposal for member in self.members if member.ended is None]

    def with_member(self, proposal: Proposal) -> Restart:
        return Restart((*self.members, Member(proposal)), self.epoch, self.judged, self.pruned, self.states)


class SavedGroups:
    """The saved lanes of a study's groups."""

    def __init__(self, study: Study, plan: Plan) -> None:
        self._study = study
        self._plan = plan

    def restart(self, running: Sequence[Proposal]) -> Restart:
        """Where the trials of a group that were under way go on; one that left its group comes by itself."""
        first = running[0]
        members = tuple(Member(proposal) for proposal in running)
        if not first.separate:
            members = _neighbours(members, list(self._ended(running)))
        verdicts = self._study.verdicts()
        if verdicts is not None and verdicts.group == Restart(members, 0, 0).name:
            judged, pruned = verdicts.epoch, verdicts.pruned
        else:
            done = {p.number: p.start - 1 + self._study.trial(p.number).epochs for p in running}
            judged, pruned = max(done.values()), frozenset()
        start = min(member.proposal.start for member in members)
        for epoch, folder in self._saves(first):
            known = {m.proposal.number: self._load(folder, m.proposal) for m in members if m.was_at(epoch)}
            states = {number: state for number, state in known.items() if state is not None}
            # An epoch more than the storage has is saved where the storage was away when it ended.
            if start <= epoch <= judged + 1 and len(states) == len(known):
                return Restart(members, epoch, judged, pruned, states)
        return Restart(members, start - 1, judged, pruned)

    def unfilled(self) -> Restart | None:
        """A group whose trials have all ended: perhaps the process died before the next ones joined."""
        verdicts, records = self._study.verdicts(), self._study.last_group()
        if verdicts is None or not records:
            return None
        first = Member(_proposal(records[0]), records[0])
        return Restart((first,), verdicts.epoch, verdicts.epoch)

    def save(self, group: LaneGroup, restart: Restart) -> None:
        """Keeps all lanes as they are after the last whole epoch, in the place of what was kept before.

        Raises:
            InputError: no room or no permission; what was kept before stays.
        """
        proposals = {member.proposal.number: member.proposal for member in restart.members}
        lanes = [lane for lane in group.lanes if lane.curve]
        if not lanes:
            return
        folder = self._folder(restart.members[0].proposal)
        folder.mkdir(parents=True, exist_ok=True)
        before = [path for _, path in self._saves_in(folder)]
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        try:
            for lane in lanes:
                save_lane(_file(unfinished, lane.key), group.state(lane.key), self._about(proposals[lane.key]))
            turn = sum(path.name.startswith(f"{group.tick:06d}-") for path in before)
            unfinished.rename(folder / f"{group.tick:06d}-{turn}")
        except BaseException:
            remove_ours(unfinished)
            raise
        for path in before:
            remove_ours(path)

    def remove(self, group: int) -> None:
        """To be called when all trials of a group have ended."""
        remove_ours(self._study.trial_folder(group))

    def _ended(self, running: Sequence[Proposal]) -> Iterator[Member]:
        """Members that trained and have ended; of those with equal configs and seeds, only the first did."""
        seen = {run_key(proposal.config, proposal.seed) for proposal in running}
        for record in self._study.ended_members(running[0].group):
            trained = record.epochs > 0 or record.state == State.INFEASIBLE
            if trained and (key := run_key(record.config, record.seed)) not in seen:
                seen.add(key)
                yield Member(_proposal(record), record)

    def _load(self, folder: Path, proposal: Proposal) -> LaneState | None:
        return load_lane(_file(folder, proposal.number), self._about(proposal))

    def _saves(self, proposal: Proposal) -> list[tuple[int, Path]]:
        """Epochs and folders, latest first; a trial that left its group may have been saved only with it."""
        folder = self._folder(proposal)
        saves = self._saves_in(folder)
        return saves + self._saves_in(folder.parent) if proposal.separate else saves

    @staticmethod
    def _saves_in(folder: Path) -> list[tuple[int, Path]]:
        found = []
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                epoch, dash, turn = path.name.partition("-")
                if dash and epoch.isdigit() and turn.isdigit():
                    found.append((int(epoch), int(turn), path))
        return [(epoch, path) for epoch, _, path in sorted(found, reverse=True)]

    def _folder(self, proposal: Proposal) -> Path:
        folder = self._study.trial_folder(proposal.group)
        return folder / f"alone-{proposal.number:05d}" if proposal.separate else folder

    def _about(self, proposal: Proposal) -> dict[str, Any]:
        """What a saved lane must agree with."""
        return {
            "config": proposal.config,
            "seed": proposal.seed,
            "start": proposal.start,
            "epochs": self._plan.epochs,
            "fingerprint": self._plan.data.fingerprint,
            "numerics": str(self._plan.numerics),
        }


def _neighbours(running: Sequence[Member], ended: Sequence[Member]) -> tuple[Member, ...]:
    """The running members with all ended ones that trained beside them, or beside such, in the order of joining."""
    needed = list(running)
    while True:
        start = min(member.proposal.start for member in needed)
        more = [member for member in ended if member.last >= start and member not in needed]
        if not more:
            return tuple(sorted(needed, key=lambda member: member.proposal.number))
        needed += more


def _proposal(record: TrialRecord) -> Proposal:
    return Proposal(record.number, record.config, record.seed, record.group, record.start)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"
