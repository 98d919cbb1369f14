"""What has to outlive the process that runs a study: which trials it trains, and what was decided about them last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

TRAINS = "pomona:trains"
_LOST = "pomona:lost"
_VERDICTS = {False: "pomona:verdicts", True: "pomona:verdicts-confirming"}

# A trial is trained by this process itself, or by one of its workers; or the name of a driver that has joined.
_HERE, _IN_WORKERS = True, 2

MOST_LOSSES = 2
"""A trial that was lost so often is not tried again."""
MOST_KILLS = 10
"""Nor is one whose processes were killed so often from outside, or with their driver: it is perhaps to blame after all
(a program that watches over memory kills in the same way)."""


@dataclass(frozen=True)
class Verdicts:
    """The last epoch of a group whose trials were judged, and which of them the pruner gave up.

    `most` is how many trials may share the structure of the group, 0 where that is not known.
    """

    epoch: int
    pruned: frozenset[int]
    most: int = 0


class Attempts:
    """Counts how often a trial was lost: the process died while it trained, and got no further than the time before.

    Deaths that a trial can't be blamed for are counted apart, see `MOST_KILLS`.

    Nothing is written while all goes well: a trial is marked when it begins, and the mark goes when the process ends by
    itself. Trials that are still marked when the study is opened again were lost.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self.driver = ""
        """The name of a driver that has joined others; empty is the one that a later run of the study follows."""
        self.has_workers = False
        """Whether trials are trained in other processes than this one, which does not die of them then."""

    def under_way(self) -> dict[str, Any]:
        """What a new trial keeps, out of sight, from its first record on."""
        return {TRAINS: self.driver or (_IN_WORKERS if self.has_workers else _HERE)}

    def is_of_another(self, trial: FrozenTrial) -> bool:
        """Whether a trial under way is trained by another driver; that of an earlier run of the study was this one."""
        mark = trial.system_attrs.get(TRAINS, False)
        return mark is not False and (mark if isinstance(mark, str) else "") != self.driver

    def begin(self, trials: Iterable[FrozenTrial]) -> None:
        """Marks the trials as being trained by this process."""
        mark = self.under_way()[TRAINS]
        for trial in trials:
            if trial.system_attrs.get(TRAINS) != mark:
                self._storage.set_trial_system_attr(trial._trial_id, TRAINS, mark)

    def end(self, trials: Iterable[FrozenTrial]) -> None:
        """This process ends by itself: none of the trials is to blame. A driver that has joined gives them back, and
        until then they are its own."""
        for trial in () if self.driver else trials:
            if trial.system_attrs.get(TRAINS):
                self._storage.set_trial_system_attr(trial._trial_id, TRAINS, False)

    def lost_with_driver(self, trial: FrozenTrial) -> int:
        """As `lost`, to be asked once, when the study is opened again: a driver dies of what it trained itself."""
        return self.lost(trial, from_outside=trial.system_attrs.get(TRAINS) == _IN_WORKERS)

    def lost(self, trial: FrozenTrial, *, from_outside: bool) -> int:
        """How often the trial was lost so far, `MOST_LOSSES` where it is not to be tried again; to be asked once for
        each death. `from_outside`: the trial can't be blamed for this one."""
        times, epochs, kills = (*trial.system_attrs.get(_LOST, (0, 0)), 0)[:3]
        if trial.system_attrs.get(TRAINS):
            if len(trial.intermediate_values) > epochs:
                times = kills = 0
            times, kills = (times, kills + 1) if from_outside else (times + 1, kills)
            self._keep(trial, times, kills)
            self._storage.set_trial_system_attr(trial._trial_id, TRAINS, False)
        return MOST_LOSSES if kills >= MOST_KILLS else int(times)

    def suspect(self, trials: Iterable[FrozenTrial]) -> None:
        """One of the trials, which were lost together, is to blame: each is tried alone, once."""
        for trial in trials:
            self._keep(trial, MOST_LOSSES - 1)

    def keep_verdicts(self, verdicts: Mapping[int, Verdicts], *, confirming: bool) -> None:
        """Keeps the last verdicts of each group that counts, by its name, in the place of what was kept before.

        `confirming`: of trials that confirm others, which may be trained while a group of the search is waiting.
        """
        kept: Any = {str(name): [last.epoch, sorted(last.pruned), last.most] for name, last in verdicts.items()}
        self._storage.set_study_system_attr(self._study_id, self._key(confirming), kept)

    def forget_verdicts(self) -> None:
        """To be called where nobody goes on with the groups of this driver."""
        for confirming in _VERDICTS:
            if self._storage.get_study_system_attrs(self._study_id).get(self._key(confirming)):
                self._storage.set_study_system_attr(self._study_id, self._key(confirming), {})

    def verdicts(self, *, confirming: bool) -> dict[int, Verdicts]:
        """What was kept last."""
        kept = self._storage.get_study_system_attrs(self._study_id).get(self._key(confirming), {})
        if isinstance(kept, list):  # of versions whose trials begin again
            return {}
        return {int(name): Verdicts(epoch, frozenset(pruned), most) for name, (epoch, pruned, most) in kept.items()}

    def _key(self, confirming: bool) -> str:
        # Drivers keep theirs apart.
        return f"{_VERDICTS[confirming]}:{self.driver}" if self.driver else _VERDICTS[confirming]

    def _keep(self, trial: FrozenTrial, times: int, kills: int = 0) -> None:
        kept = [times, len(trial.intermediate_values), *([kills] if kills else [])]
        self._storage.set_trial_system_attr(trial._trial_id, _LOST, kept)
