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

MOST_LOSSES = 2
"""A trial that was lost so often is not tried again."""


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

    Nothing is written while all goes well: a trial is marked when it begins, and the mark goes when the process ends by
    itself. Trials that are still marked when the study is opened again were lost.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self.driver = ""
        """The name of a driver that has joined others; empty is the one that a later run of the study follows."""

    def under_way(self) -> dict[str, Any]:
        """What a new trial keeps, out of sight, from its first record on."""
        return {TRAINS: self.driver or True}

    def is_of_another(self, trial: FrozenTrial) -> bool:
        """Whether a trial under way is trained by another driver; that of an earlier run of the study was this one."""
        return (driver := trial.system_attrs.get(TRAINS, False)) is not False and driver != (self.driver or True)

    def begin(self, trials: Iterable[FrozenTrial]) -> None:
        """Marks the trials as being trained by this process."""
        for trial in trials:
            if trial.system_attrs.get(TRAINS) != (self.driver or True):
                self._storage.set_trial_system_attr(trial._trial_id, TRAINS, self.driver or True)

    def end(self, trials: Iterable[FrozenTrial]) -> None:
        """This process ends by itself: none of the trials is to blame."""
        for trial in trials:
            if trial.system_attrs.get(TRAINS):
                self._storage.set_trial_system_attr(trial._trial_id, TRAINS, False)

    def lost(self, trial: FrozenTrial) -> int:
        """How often the trial was lost so far; to be asked once, when the study is opened again."""
        times, epochs = trial.system_attrs.get(_LOST, (0, 0))
        if not trial.system_attrs.get(TRAINS):
            return int(times)
        done = len(trial.intermediate_values)
        times = 1 if done > epochs else times + 1
        self._keep(trial, times)
        self._storage.set_trial_system_attr(trial._trial_id, TRAINS, False)
        return times

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

    def _keep(self, trial: FrozenTrial, times: int) -> None:
        self._storage.set_trial_system_attr(trial._trial_id, _LOST, [times, len(trial.intermediate_values)])
