"""What a study's trials came to, kept up to date without going through all of them again."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Container, Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config
from training.lanes.results import OUT_OF_MEMORY, State

from .attempts import MOST_LOSSES
from .ranking import Best
from .records import (
    DRIVER_LOST,
    FIXED,
    FOREIGN,
    GROUP,
    ORIGIN,
    RETRIES,
    ROBUST,
    SEED,
    confirms_of,
    is_lost,
    record_of,
    run_key,
    state_of,
)

# TPE takes at most so many trials for good ones (`gamma`), all others for bad ones. Of these the latest so many count
# in full, those before them the less the older they are (`weights`).
GOOD = LATEST = 25

_Rank = tuple[int, float, float]


class History:
    """The trials of a study as they were at the last `refresh`. One that has ended never changes, and is read once.

    Trials that confirm others on fresh seeds are kept apart: counts, the best and what a sampler sees are of the
    search alone.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        self._trials: list[FrozenTrial] = []
        self._not_ended: list[int] = []
        self._ended: Counter[str] = Counter()
        self._first: tuple[_Rank, int] | None = None
        self._leader = Best("maximize" if self._sign < 0 else "minimize")
        # Whether a sampler can read a trial that is not ours, by its number.
        self._foreign: dict[int, bool | None] = {}
        # Numbers of the trials that ended with a result, in order, and those of the best of them, best first.
        self._with_result: list[int] = []
        self._best: list[tuple[_Rank, int]] = []
        self._first_of_run: dict[str, int] = {}
        self._first_of_names: dict[frozenset[str], int] = {}
        self.members: Counter[int] = Counter()
        """How many trials each choice of a structure has had, by the number of the first; see `Proposal.origin`."""
        self.last_origin: int | None = None
        """The one of these that the last of the searched trials belongs to."""
        self.groups: dict[int, list[int]] = {}
        """The numbers of the trials of each group, in their order."""
        self.groups_of: dict[int, list[int]] = {}
        """The numbers of the groups of each of `members`."""
        self._counted: set[int] = set()
        # Trials that lost their driver, and those of them that another trial retries.
        self._lost: list[int] = []
        self._retried: set[int] = set()
        self.ends: list[int] = []
        """The numbers of the trials of ours that ended, confirmations apart, in the order in which that was seen."""
        self.out_of_memory: list[FrozenTrial] = []
        """Trials for which memory was short though they had it for themselves."""
        # Numbers of the trials that confirm others, in order.
        self._confirmations: list[int] = []

    def refresh(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        unread = [*self._not_ended, *range(len(self._trials), len(trials))]
        known = len(self._trials)
        self._trials, self._not_ended = trials, []
        self._confirmations += [trial.number for trial in trials[known:] if confirms_of(trial) is not None]
        self._retried |= {number for trial in trials[known:] if type(number := trial.user_attrs.get(RETRIES)) is int}
        for number in unread:
            group = trials[number].user_attrs.get(GROUP)
            if number not in self._counted and isinstance(group, int) and state_of(trials[number]) != FOREIGN:
                origin = int(trials[number].user_attrs.get(ORIGIN, group))
                self.members[origin] += 1
                if group not in self.groups:
                    self.groups_of.setdefault(origin, []).append(group)
                bisect.insort(self.groups.setdefault(group, []), number)
                if not self.is_confirmation(number):
                    self.last_origin = origin
                self._counted.add(number)
            if trials[number].state.is_finished():
                self._take(trials[number])
            else:
                self._not_ended.append(number)

    def is_confirmation(self, number: int) -> bool:
        return self._place_among_confirmations(number)[1]

    def place_of(self, number: int) -> int:
        """How many trials came before this one, confirmations apart: what a search without them would number it."""
        return number - self._place_among_confirmations(number)[0]

    def _place_among_confirmations(self, number: int) -> tuple[int, bool]:
        place = bisect.bisect_left(self._confirmations, number)
        return place, self._confirmations[place : place + 1] == [number]

    @property
    def ended(self) -> int:
        """How many searched trials of ours have ended, however they did; one that another one retries has not."""
        retried = sum(number in self._retried and not self.is_confirmation(number) for number in self._lost)
        return self._ended.total() - self._ended[FOREIGN] - retried

    @property
    def size(self) -> int:
        """How many trials there are, in any state."""
        return len(self._trials)

    def searched(self) -> list[FrozenTrial]:
        """The trials in any state that confirm no others, in the order of their numbers."""
        return [trial for trial in self._trials if not self.is_confirmation(trial.number)]

    def running(self, confirming: Container[str] | None = None) -> list[FrozenTrial]:
        """The searched trials under way, or the confirmations under way of the runs `confirming` (see `run_key`)."""
        return self._unended(TrialState.RUNNING, confirming)

    def waiting(self, confirming: Container[str] | None = None) -> list[FrozenTrial]:
        """As `running`, of those that wait: first those that retry others, whose places they take."""
        return sorted(self._unended(TrialState.WAITING, confirming), key=lambda trial: RETRIES not in trial.user_attrs)

    def under_way(self) -> list[FrozenTrial]:
        """All trials under way, confirmations among them."""
        return [trial for number in self._not_ended if (trial := self._trials[number]).state == TrialState.RUNNING]

    def to_retry(self) -> list[FrozenTrial]:
        """The trials that lost their driver, or were given back by it, and are to be tried again: no trial retries them
        yet, and of those whose place they took none was lost."""
        waiting = (self._trials[number] for number in self._lost if number not in self._retried)
        return [trial for trial in waiting if self._times_lost(trial) < MOST_LOSSES]

    def awaiting_retry(self) -> list[FrozenTrial]:
        """The trials to be retried whose retries have not begun, or do not wait yet."""
        waiting = (self._trials[number] for number in self._not_ended)
        begun = {t.user_attrs.get(RETRIES) for t in waiting if t.state == TrialState.WAITING}
        return [*self.to_retry(), *(self._trials[number] for number in self._lost if number in begun)]

    def _times_lost(self, trial: FrozenTrial | None) -> int:
        """How often a trial lost its driver, with those that it retries."""
        times = 0
        while trial is not None:
            times += trial.user_attrs.get("reason") == DRIVER_LOST
            before = trial.user_attrs.get(RETRIES)
            # Of another program's making it may be any number.
            trial = self.numbered(before) if type(before) is int and before < trial.number else None
        return times

    def counts(self) -> Counter[str]:
        """How many searched trials are in each state of a record."""
        return self._ended + Counter(state_of(trial) for trial in self.running())

    def runs_confirmed(self) -> dict[str, FrozenTrial]:
        """The last trial of each run that confirms a trial, in any state; see `run_key`."""
        return {_run_of(self._trials[number]): self._trials[number] for number in self._confirmations}

    def best(self) -> FrozenTrial | None:
        """The best of the searched trials that ran to their end; see `ranked`."""
        return None if (best := self._leader.record) is None else self._trials[best.number]

    def best_by_value(self) -> FrozenTrial | None:
        """The one of them with the best value, the first among equals."""
        return None if (best := self._leader.by_value) is None else self._trials[best.number]

    def numbered(self, number: int) -> FrozenTrial | None:
        return self._trials[number] if 0 <= number < len(self._trials) else None

    def attributes(self, number: int) -> Mapping[str, object]:
        """What a trial keeps for the user to see."""
        return self._trials[number].user_attrs

    def first_of(self, config: Config, seed: int) -> FrozenTrial | None:
        """The first trial of an equal config and the same seed that ended with a result."""
        number = self._first_of_run.get(run_key(config, seed))
        return None if number is None else self._trials[number]

    def informative(self, limit: int, distributions: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
        """What a sampler learns most from, in the order of their numbers: up to `limit` searched trials with a result,
        and all that have not ended.

        These are the `GOOD` best, the `LATEST`, and of the others between them every so many. Trials that are not ours
        are among them where they fit the `distributions`: a sampler fails at a choice that it does not know.
        """
        unread = {number for number in self._foreign if not self._readable(number, distributions)}
        seen = self._chosen(limit)
        return [trial for trial in seen if trial.number not in unread] if unread else seen

    def _chosen(self, limit: int) -> list[FrozenTrial]:
        if len(self._with_result) <= limit:
            return self.searched()
        good = {number for _, number in self._best}
        others = [number for number in self._with_result if number not in good]
        older, latest = others[:-LATEST], others[-LATEST:]
        places = limit - len(good) - LATEST
        spread = (older[place * len(older) // places] for place in range(places))
        searched = (number for number in self._not_ended if not self.is_confirmation(number))
        return [self._trials[number] for number in sorted({*good, *spread, *latest, *searched})]

    def one_per_parameter_set(self) -> list[FrozenTrial]:
        """One trial with a result of each set of active dimensions, in the order of their numbers."""
        return [self._trials[number] for number in sorted(self._first_of_names.values())]

    def _unended(self, state: TrialState, confirming: Container[str] | None) -> list[FrozenTrial]:
        trials = [trial for number in self._not_ended if (trial := self._trials[number]).state == state]
        if confirming is None:
            return [trial for trial in trials if not self.is_confirmation(trial.number)]
        return [t for t in trials if self.is_confirmation(t.number) and _run_of(t) in confirming]

    def _readable(self, number: int, distributions: Mapping[str, BaseDistribution]) -> bool:
        if (known := self._foreign[number]) is None:
            trial = self._trials[number]
            known = self._foreign[number] = all(
                name in distributions and _is_in(trial.params[name], distributions[name]) for name in trial.params
            )
        return known

    def _take(self, trial: FrozenTrial) -> None:
        state = state_of(trial)
        if trial.state != TrialState.FAIL and state != FOREIGN:
            key = run_key(dict(trial.params), trial.user_attrs[SEED])
            self._first_of_run[key] = min(trial.number, self._first_of_run.get(key, trial.number))
        if is_lost(trial):
            self._lost.append(trial.number)
        if state == State.INFEASIBLE and str(trial.user_attrs.get("reason")).startswith(OUT_OF_MEMORY):
            self.out_of_memory.append(trial)
        if self.is_confirmation(trial.number):
            return
        self._ended[state] += 1
        if state != FOREIGN:
            self.ends.append(trial.number)
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
            before, self._first = self._first, place if self._first is None else min(self._first, place)
            if self._first != before or ROBUST in trial.user_attrs:
                self._leader.add(record_of(trial, self._study.study_name, ""))
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


def _run_of(confirmation: FrozenTrial) -> str:
    """What a confirmation trains: its values were fixed when it was enqueued, before it had parameters."""
    return run_key(confirmation.system_attrs.get(FIXED, confirmation.params), confirmation.user_attrs[SEED])


def _is_in(value: object, distribution: BaseDistribution) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        return False
