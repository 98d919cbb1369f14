"""What an earlier process left of a study, handed to a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from search_spaces import Config
from training import State
from training.lanes.jobs import Member

from .attempts import MOST_LOSSES
from .proposals import Proposal
from .records import ENDED, TrialRecord, run_key
from .scheduled import Group, Trial
from .scheduler import Scheduler
from .strategy import Arm
from .study import Study


class Restoring:
    """Puts the groups together again that were under way. `trial` makes the trial of a number, a config and a seed."""

    def __init__(self, study: Study, scheduler: Scheduler, trial: Callable[[int, Config, int], Trial]) -> None:
        self._study = study
        self._scheduler = scheduler
        self._trial = trial

    def restore(self, left: Sequence[Proposal]) -> list[Proposal]:
        """Hands the scheduler the trials that were interrupted. Returns those that were lost too often."""
        leaders: dict[str, Proposal] = {}
        followers: dict[int, list[int]] = {}
        for proposal in left:
            leader = leaders.setdefault(run_key(proposal.config, proposal.seed), proposal)
            if leader is not proposal:
                followers.setdefault(leader.number, []).append(proposal.number)
        together: dict[tuple[int, int | None], list[Proposal]] = {}
        for proposal in leaders.values():
            together.setdefault((proposal.group, proposal.part), []).append(proposal)
        given_up = [running[0] for running in together.values() if len(running) == 1 and _is_lost(running)]
        going_on = [running for running in together.values() if running[0] not in given_up]
        restored = [group for running in going_on for group in self._restored(running)]
        restored.sort(key=lambda group: (group.number, -1 if group.part is None else group.part))
        self._scheduler.restore(restored, followers)
        self._restore_origins(restored)
        return given_up

    def _restored(self, running: list[Proposal]) -> list[Group]:
        """The group of trials that were interrupted, with all that trained beside them: in parts if it was to blame."""
        first, numbers = running[0], [proposal.number for proposal in running]
        if _is_lost(running):
            # One of them is to blame for both times, and the others must not go with it.
            self._study.groups.divide([(number,) for number in numbers], suspects=True)
            return [self._alone(proposal) for proposal in running]
        records = self._study.groups.group_members(first.group, first.part)
        epochs = {record.number: record.epochs for record in records}
        verdicts = self._study.groups.verdicts().get(first.group if first.part is None else first.part)
        judged = max(epochs[number] for number in numbers) if verdicts is None else verdicts.epoch
        late = [proposal for proposal in running if epochs[proposal.number] < judged - 1]
        if late:
            # They waited for others that failed.
            self._study.groups.divide([(proposal.number,) for proposal in late])
            running = [proposal for proposal in running if proposal not in late]
        groups = [self._alone(proposal) for proposal in late]
        if not running:
            return groups
        members = _members(records, {proposal.number for proposal in running})
        trials = {p.number: self._trial(p.number, p.config, p.seed) for p in running}
        group = Group(
            trials[running[0].number],
            first.origin,
            members,
            trials,
            first.group,
            first.part,
            judged,
            frozenset() if verdicts is None else verdicts.pruned,
            size=len({run_key(record.config, record.seed) for record in records}),
            arm=self._arm(first),
        )
        return [group, *groups]

    def _alone(self, proposal: Proposal) -> Group:
        number, trial = proposal.number, self._trial(proposal.number, proposal.config, proposal.seed)
        member = Member(number, proposal.config)
        judged = self._study.trial(number).epochs
        return Group(
            trial,
            proposal.origin,
            {number: member},
            {number: trial},
            proposal.group,
            number,
            judged,
            arm=self._arm(proposal),
        )

    def _arm(self, proposal: Proposal) -> Arm | None:
        """What a strategy wanted of a trial that goes on; it takes in no others."""
        if proposal.further is None:
            return None
        record = self._study.trial(proposal.number)
        structure = self._trial(proposal.number, proposal.config, proposal.seed).structure
        return Arm(structure, parent=record.promoted_from, further=proposal.further)

    def _restore_origins(self, restored: Iterable[Group]) -> None:
        """Says how many trials the structures have that were under way, or that perhaps the next trial would have."""
        if self._study.has_joined:
            return
        verdicts, study = self._study.groups.verdicts(), self._study
        last = study.groups.last_origin()
        for origin in {group.origin for group in restored} | ({last} if last is not None else set()):
            most = 0
            for name, kept in verdicts.items():
                belongs = any(g.name == name and g.origin == origin for g in restored)
                if belongs or (name in study.groups.groups_of(origin)):
                    most = max(most, kept.most)
            record = study.trial(origin)
            example = self._trial(origin, record.config, record.seed)
            self._scheduler.restore_origin(example, origin, study.groups.members(origin), most)


def _is_lost(running: Iterable[Proposal]) -> bool:
    return any(proposal.lost >= MOST_LOSSES for proposal in running)


def _members(records: Iterable[TrialRecord], running: set[int]) -> dict[int, Member]:
    """The members of a group: those under way, and those that trained beside them, each until it left.

    Of those with equal runs only the first trained.
    """
    members: dict[int, Member] = {}
    seen: set[str] = set()
    for record in records:
        run = run_key(record.config, record.seed)
        if record.number in running:
            members[record.number] = Member(record.number, record.config)
        elif record.state in ENDED and run not in seen:
            # One that diverged left after the epoch that followed its last good one.
            left = record.epochs + (record.state == State.INFEASIBLE)
            if left:
                members[record.number] = Member(record.number, record.config, left)
        seen.add(run)
    return members
