"""The groups of a study's trials as its storage knows them: who trains with whom, and what was lost or given up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import optuna

from .attempts import Attempts, Verdicts
from .history import History
from .records import PART, TrialRecord, record_of
from .storage import together


class Groups:
    """What a driver asks and tells about groups. `open_trials` are those that were given and have not ended.

    Args:
        source: of the study's data, for its records.
        is_confirming: whether the study confirms trials at this moment.
    """

    def __init__(
        self,
        study: optuna.Study,
        history: History,
        attempts: Attempts,
        open_trials: Mapping[int, optuna.Trial],
        *,
        source: str,
        is_confirming: Callable[[], bool],
    ) -> None:
        self._name = study.study_name
        self._storage = study._storage
        self._history = history
        self._attempts = attempts
        self._open = open_trials
        self._source = source
        self._is_confirming = is_confirming

    def begin(self, numbers: Iterable[int]) -> None:
        """Trials that were given by `left` are trained from here on; those that `ask` gives are at once."""
        with together(self._storage):
            self._attempts.begin(self._stored(numbers))

    def release(self) -> None:
        """To be called when a run ends before its trials have: the process does not die of them."""
        with together(self._storage):
            self._attempts.end(self._stored(self._open))

    def lost(self, numbers: Iterable[int], *, from_outside: bool = False) -> dict[int, int]:
        """How often each of the trials was lost so far, to be called when a process that trained them has died.

        `from_outside`: they can't be blamed for this one; see `Attempts.lost`.
        """
        with together(self._storage):
            trials = self._stored(numbers)
            return {trial.number: self._attempts.lost(trial, from_outside=from_outside) for trial in trials}

    def divide(self, parts: Iterable[Sequence[int]], *, suspects: bool = False) -> None:
        """Trials of a group go on in parts. Of `suspects`, lost together, each is tried once more."""
        with together(self._storage):
            for part in parts:
                for number in self._open.keys() & part:
                    # Others may have ended it: its next epoch says so.
                    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                        self._open[number].set_user_attr(PART, part[0])
                if suspects:
                    self._attempts.suspect(self._stored(part))

    def verdicts(self) -> dict[int, Verdicts]:
        """The last verdicts of the groups under way, and of the one that ended last, by their names."""
        return self._attempts.verdicts(confirming=self._is_confirming())

    def keep_verdicts(self, verdicts: Mapping[int, Verdicts]) -> None:
        """To be called when the pruner was asked about a group's epoch, before any trial ends by it."""
        self._attempts.keep_verdicts(verdicts, confirming=self._is_confirming())

    def last_origin(self) -> int | None:
        """The number of the trial at which the structure of the last trials was chosen; none while confirming."""
        self._history.refresh()
        return None if self._is_confirming() else self._history.last_origin

    def members(self, origin: int) -> int:
        """How many trials got the structure that was chosen at trial `origin`, ended ones included."""
        self._history.refresh()
        return self._history.members[origin]

    def groups_of(self, origin: int) -> list[int]:
        """The groups that got the structure that was chosen at trial `origin`; none where one of them was divided."""
        self._history.refresh()
        groups = self._history.groups_of.get(origin, [])
        members = (number for group in groups for number in self._history.groups[group])
        return [] if any(PART in self._history.attributes(number) for number in members) else groups

    def under_way(self) -> set[int]:
        """The groups of all trials that were begun and have not ended, of the search and of those that confirm it; and
        of those that others are to retry, from what they saved."""
        self._history.refresh()
        trials = [*self._history.under_way(), *self._history.awaiting_retry()]
        return {record_of(trial, self._name, self._source).group for trial in trials}

    def group_members(self, group: int, part: int | None) -> list[TrialRecord]:
        """The trials of a group, in any state but waiting; those that go on in `part` where it was divided."""
        self._history.refresh()
        numbers = self._history.groups.get(group, [])
        return [
            record_of(trial, self._name, self._source)
            for number in numbers
            if (trial := self._history.numbered(number)) is not None and trial.user_attrs.get(PART) == part
        ]

    def _stored(self, numbers: Iterable[int]) -> list[optuna.trial.FrozenTrial]:
        self._history.refresh()  # one read for all of them, where a database is asked
        stored = (self._storage.get_trial(self._open[number]._trial_id) for number in numbers)
        return [trial for trial in stored if not trial.state.is_finished()]
