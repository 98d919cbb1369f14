"""What a study's trials came to, kept up to date without going through all of them again."""

from __future__ import annotations

import bisect
import math
from collections import Counter

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config

from .records import GROUP, config_key, state_of

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
        # Numbers of the trials that ended with a result, in order, and those of the best of them, best first.
        self._with_result: list[int] = []
        self._best: list[tuple[_Rank, int]] = []
        self._first_of_config: dict[str, int] = {}
        self._first_of_names: dict[frozenset[str], int] = {}
        self.members: Counter[int] = Counter()
        """How many trials each group of lanes has had."""
        self._counted: set[int] = set()

    def refresh(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        unread = [*self._not_ended, *range(len(self._trials), len(trials))]
        self._trials, self._not_ended = trials, []
        for number in unread:
            if number not in self._counted and (group := trials[number].user_attrs.get(GROUP)) is not None:
                self.members[int(group)] += 1
                self._counted.add(number)
            if trials[number].state.is_finished():
                self._take(trials[number])
            else:
                self._not_ended.append(number)

    @property
    def ended(self) -> int:
        """How many trials have ended, however they did."""
        return self._ended.total()

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
        if not self._best:
            return None
        trial = self._trials[self._best[0][1]]
        return trial if trial.state == TrialState.COMPLETE else None

    def numbered(self, number: int) -> FrozenTrial | None:
        return self._trials[number] if 0 <= number < len(self._trials) else None

    def first_of(self, config: Config) -> FrozenTrial | None:
        """The first trial of an equal config that ended with a result."""
        number = self._first_of_config.get(config_key(config))
        return None if number is None else self._trials[number]

    def telling(self, limit: int) -> list[FrozenTrial]:
        """What a sampler learns most from, in the order of their numbers: up to `limit` trials with a result, and all
        that have not ended.

        These are the `GOOD` best, the `LATEST`, and of the others between them every so many.
        """
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

    def _take(self, trial: FrozenTrial) -> None:
        self._ended[state_of(trial)] += 1
        if trial.state == TrialState.FAIL:
            return
        bisect.insort(self._with_result, trial.number)
        bisect.insort(self._best, (self._rank(trial), trial.number))
        del self._best[GOOD:]
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
