"""How the next config is chosen, and which trial is given up: Optuna's rules, kept affordable for many trials."""

from __future__ import annotations

import binascii
import bisect
import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Container, Iterator
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config, InputError
from training.seeds import number_of

from .history import History

# Trials that the sampler learns from; see docs/decisions/0007.
LOOK_BACK = 3000
_REDUCTION = 3


def make_sampler(study: optuna.Study, history: History, *, seed: int, trials: int, held: Config) -> BaseSampler:
    """TPE (Bergstra et al. 2011; multivariate: Falkner et al. 2018) that learns from `history` and leaves `held` alone.

    `trials` are those that the study shall have: of few, few are drawn at random.
    """
    with experimental():
        sampler: BaseSampler = TPESampler(
            n_startup_trials=min(10, max(4, trials // 4)),
            multivariate=True,
            group=True,  # keeps conditional dimensions in the model
            seed=seed,
        )
        if held:
            sampler = PartialFixedSampler(held, sampler)
    kinds, telling = history.kinds(), history.telling(LOOK_BACK)
    return _Seeing(sampler, _View(study, lambda: kinds, sampler), _View(study, lambda: telling, sampler))


def sampler_seed(study_seed: int, number: int) -> int:
    """Each trial's own, so that an interrupted study proposes the same."""
    return number_of(study_seed, number) % 2**32


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Hyperband (Li et al. 2018, JMLR 18-185) or the median rule, by epoch; or none."""
    if name == "hyperband":
        return Brackets(epochs)
    if name == "median":
        return MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    if name == "none":
        return NopPruner()
    raise InputError(f"unknown pruner {name!r}: hyperband, median or none")


@final
class Brackets(BasePruner):
    """What `optuna.pruners.HyperbandPruner(1, epochs, 3)` decides; for one study.

    Optuna's finds the bracket of every trial of the study anew at every question.
    """

    def __init__(self, epochs: int) -> None:
        count = math.floor(math.log(epochs, _REDUCTION)) + 1
        self._rules = [
            SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=_REDUCTION, min_early_stopping_rate=bracket, bootstrap_count=0
            )
            for bracket in range(count)
        ]
        # How many trials of every so many go to each bracket.
        shares = (math.ceil(count * _REDUCTION**left / (left + 1)) for left in reversed(range(count)))
        self._bounds = list(itertools.accumulate(shares))
        self._numbers: list[list[int]] = [[] for _ in range(count)]
        self._dealt = 0

    def bracket_of(self, study_name: str, number: int) -> int:
        place = binascii.crc32(f"{study_name}_{number}".encode()) % self._bounds[-1]
        return bisect.bisect_right(self._bounds, place)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        bracket = self.bracket_of(study.study_name, trial.number)

        def rivals() -> list[FrozenTrial]:
            trials = study.get_trials(deepcopy=False)
            for number in range(self._dealt, len(trials)):
                self._numbers[self.bracket_of(study.study_name, number)].append(number)
            self._dealt = len(trials)
            return [trials[number] for number in self._numbers[bracket]]

        return self._rules[bracket].prune(_View(study, rivals, study.sampler), trial)


@final
class _View(optuna.Study):
    """A study of which Optuna sees some trials only."""

    def __init__(self, study: optuna.Study, seen: Callable[[], list[FrozenTrial]], sampler: BaseSampler) -> None:
        super().__init__(study.study_name, study._storage, sampler, study.pruner)
        self._seen = seen

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        # Samplers and pruners ask for what they only read: nothing is copied.
        return [trial for trial in self._seen() if states is None or trial.state in states]


@final
class _Seeing(BaseSampler):
    """A sampler that is shown views instead of the study: one for which dimensions there are, one for the values.

    Which dimensions there are takes TPE as long as everything else, as it goes by all trials for it.
    """

    def __init__(self, sampler: BaseSampler, kinds: _View, view: _View) -> None:
        self._sampler = sampler
        self._kinds = kinds
        self._view = view

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._kinds, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(self._view, trial, param_name, param_distribution)


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Optuna calls these parts experimental; which version is installed is ours to know, not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
