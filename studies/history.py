"""What a study's trials came to, kept up to date without going through all of them again."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config

from .records import FOREIGN, GROUP, ORIGIN, config_key, state_of

# TPE takes at most so many trials for good ones (`gamma`), all others for bad ones. Of these the latest so many count
# in full, those before them the less the older they are (`weights`).
GOOD = LATEST = 25

_Rank = tuple[int, float, float]


class History:
    """The trials of a study as they were at the last `refresh`. One that has ended never changes, and is read once."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        self._trials: list[FrozenTrial] = []
        self._not_ended: list[int] = []
        self._ended: Counter[str] = Counter()
        self._first: tuple[_Rank, int] | None = None
        # Whether a sampler can read a trial that is not ours, by its number.
        self._foreign: dict[int, bool | None] = {}
        # Numbers of the trials that ended with a result, in order, and those of the best of them, best first.
        self._with_result: list[int] = []
        self._best: list[tuple[_Rank, int]] = []
        self._first_of_config: dict[str, int] = {}
        self._first_of_names: dict[frozenset[str], int] = {}
        self.members: Counter[int] = Counter()
        """How many trials each choice of a structure has had, by the number of the first; see `Proposal.origin`."""
        self.last_origin: int | None = None
        """The one of these that the last trial belongs to."""
        self.groups: dict[int, list[int]] = {}
        """The numbers of the trials of each group, in their order."""
        self.groups_of: dict[int, list[int]] = {}
        """The numbers of the groups of each of `members`."""
        self._counted: set[int] = set()

    def refresh(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        unread = [*self._not_ended, *range(len(self._trials), len(trials))]
        self._trials, self._not_ended = trials, []
        for number in unread:
            group = trials[number].user_attrs.get(GROUP)
            if number not in self._counted and isinstance(group, int) and state_of(trials[number]) != FOREIGN:
                self.last_origin = int(trials[number].user_attrs.get(ORIGIN, group))
                self.members[self.last_origin] += 1
                if group not in self.groups:
                    self.groups_of.setdefault(self.last_origin, []).append(group)
                bisect.insort(self.groups.setdefault(group, []), number)
                self._counted.add(number)
            if trials[number].state.is_finished():
                self._take(trials[number])
            else:
                self._not_ended.append(number)

    @property
    def ended(self) -> int:
        """How many trials of ours have ended, however they did."""
        return self._ended.total() - self._ended[FOREIGN]

    @property
    def size(self) -> int:
        """How many trials there are, in any state."""
        return len(self._trials)

    @property
    def running(self) -> list[FrozenTrial]:
        return self._unended(TrialState.RUNNING)

    @property
    def waiting(self) -> list[FrozenTrial]:
        return self._unended(TrialState.WAITING)

    def counts(self) -> Counter[str]:
        """How many trials are in each state of a record."""
        return self._ended + Counter(state_of(trial) for trial in self.running)

    def best(self) -> FrozenTrial | None:
        """The best of the trials that ran to their end, the first among equals."""
        return None if self._first is None else self._trials[self._first[1]]

    def numbered(self, number: int) -> FrozenTrial | None:
        return self._trials[number] if 0 <= number < len(self._trials) else None

    def attributes(self, number: int) -> Mapping[str, object]:
        """What a trial keeps for the user to see."""
        return self._trials[number].user_attrs

    def first_of(self, config: Config) -> FrozenTrial | None:
        """The first trial of an equal config that ended with a result."""
        number = self._first_of_config.get(config_key(config))
        return None if number is None else self._trials[number]

    def telling(self, limit: int, distributions: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
        """What a sampler learns most from, in the order of their numbers: up to `limit` trials with a result, and all
        that have not ended.

        These are the `GOOD` best, the `LATEST`, and of the others between them every so many. Trials that are not ours
        are among them where they fit the `distributions`: a sampler fails at a choice that it does not know.
        """
        unread = {number for number in self._foreign if not self._readable(number, distributions)}
        seen = self._chosen(limit)
        return [trial for trial in seen if trial.number not in unread] if unread else seen

    def _chosen(self, limit: int) -> list[FrozenTrial]:
        if len(self._with_result) <= limit:
            return self._trials
        good = {number for _, number in self._best}
        others = [number for number in self._with_result if number not in good]
        older, latest = others[:-LATEST], others[-LATEST:]
        places = limit - len(good) - LATEST
        spread = (older[place * len(older) // places] for place in range(places))
        return [self._trials[number] for number in sorted({*good, *spread, *latest, *self._not_ended})]

    def kinds(self) -> list[FrozenTrial]:
        """One trial with a result of each set of active dimensions, in the order of their numbers."""
        return [self._trials[number] for number in sorted(self._first_of_names.values())]

    def _unended(self, state: TrialState) -> list[FrozenTrial]:
        trials = (self._trials[number] for number in self._not_ended)
        return [trial for trial in trials if trial.state == state]

    def _readable(self, number: int, distributions: Mapping[str, BaseDistribution]) -> bool:
        if (known := self._foreign[number]) is None:
            trial = self._trials[number]
            known = self._foreign[number] = all(
                name in distributions and _is_in(trial.params[name], distributions[name]) for name in trial.params
            )
        return known

    def _take(self, trial: FrozenTrial) -> None:
        state = state_of(trial)
        self._ended[state] += 1
        if state == FOREIGN:
            self._foreign[trial.number] = None
        if trial.state == TrialState.FAIL:
            return
        place = (self._rank(trial), trial.number)
        bisect.insort(self._with_result, trial.number)
        bisect.insort(self._best, place)
        del self._best[GOOD:]
        if state == FOREIGN:
            return
        if trial.state == TrialState.COMPLETE and place[0][0] == 0:
            self._first = place if self._first is None else min(self._first, place)
        key = config_key(dict(trial.params))
        self._first_of_config[key] = min(trial.number, self._first_of_config.get(key, trial.number))
        names = frozenset(trial.params)
        self._first_of_names[names] = min(trial.number, self._first_of_names.get(names, trial.number))

    def _rank(self, trial: FrozenTrial) -> _Rank:
        """TPE's order: by value, then pruned ones by how far they came, then infeasible ones by how far they are."""
        violation = sum(value for value in trial.constraints.values() if value > 0)
        if violation > 0:
            return (2, violation, 0.0)
        if trial.state == TrialState.COMPLETE:
            return (0, self._sign * (trial.value or 0.0), 0.0)
        if not trial.intermediate_values:
            return (1, 1.0, 0.0)
        epoch, value = max(trial.intermediate_values.items())
        return (1, -epoch, math.inf if math.isnan(value) else self._sign * value)


def _is_in(value: object, distribution: BaseDistribution) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        return False
