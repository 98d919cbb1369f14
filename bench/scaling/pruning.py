"""A search's pruner over trials that no storage keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from studies.sampling import make_pruner


class Judge:
    """A search's pruner, asked about trials that no storage keeps. Trials are numbered in the order they begin in."""

    def __init__(self, pruner: str, study: str, direction: str, epochs: int) -> None:
        self._storage = optuna.storages.InMemoryStorage()
        # Brackets go by the study's name.
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=study,
            direction=StudyDirection[direction.upper()],
            sampler=optuna.samplers.RandomSampler(),
            pruner=make_pruner(pruner, epochs),
        )
        self._trials: list[int] = []

    def begin(self) -> None:
        self._trials.append(self._storage.create_new_trial(self._study._study_id))

    def report(self, values: Mapping[int, tuple[int, float]]) -> None:
        """(epoch, value) by the trials' numbers."""
        for number, (epoch, value) in values.items():
            self._storage.set_trial_intermediate_value(self._trials[number], epoch, value)

    def pruned(self, numbers: Iterable[int]) -> frozenset[int]:
        """Those of the trials that are given up, asked in this order."""
        return frozenset(number for number in numbers if self._is_pruned(number))

    def end(self, number: int, value: float | None) -> None:
        """A trial has ended: with its value, or with None where it was given up."""
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        values = None if value is None else [value]
        self._storage.set_trial_state_values(self._trials[number], state, values)

    def _is_pruned(self, number: int) -> bool:
        return self._study.pruner.prune(self._study, self._storage.get_trial(self._trials[number]))
