"""Optuna's samplers, each as a search uses it: seeded a trial, without warnings about what it leaves to another."""

from __future__ import annotations

import importlib.util
from typing import Any, final

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from search_spaces import Config, InputError, SearchSpace

from .edges.optuna import distribution_of

# Of trials without a number nobody knows how many are few.
_STARTUP = 10


def check_sampler(name: str) -> None:
    """Raises InputError where a sampler needs a package that is not installed."""
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise InputError(
            "the sampler cmaes needs the package cmaes", "pip install 'pomona[cmaes]'", "choose another --sampler"
        )


def startup_trials(trials: int | None) -> int:
    """How many trials are drawn at random before a model is asked, of `trials` in all: of few, few."""
    return _STARTUP if trials is None else min(_STARTUP, max(4, trials // 4))


def optuna_sampler(
    name: str, space: SearchSpace, direction: StudyDirection, *, seed: int, trials: int | None, fixed: Config
) -> BaseSampler:
    """The sampler called `name`, without the `fixed` dimensions.

    `auto` and `tpe` are TPE (Bergstra et al. 2011; multivariate: Falkner et al. 2018), `random` draws from the space,
    `gp` is a Gaussian process with expected improvement, and `cmaes` CMA-ES (Hansen and Ostermeier 2001). The last two
    know the dimensions that take part in every trial, CMA-ES only those that are numbers; TPE chooses the others, each
    by itself.
    """
    startup = startup_trials(trials)
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "gp":
        others = TPESampler(n_startup_trials=startup, seed=seed)
        sampler: BaseSampler = GPSampler(
            seed=seed, independent_sampler=others, n_startup_trials=startup, warn_independent_sampling=False
        )
    elif name == "cmaes":
        # What is fixed stays among its dimensions, or it would begin anew with each set of these: the trial's own
        # values stand before those that it gives.
        return _CmaEs(_numbers_of(space), direction, seed=seed, startup=startup)
    else:
        sampler = TPESampler(
            n_startup_trials=startup,
            multivariate=True,
            group=True,  # keeps conditional dimensions in the model
            seed=seed,
        )
    return PartialFixedSampler(fixed, sampler) if fixed else sampler


def _numbers_of(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The dimensions that CMA-ES moves: numbers that take part in every trial and have more than one value.

    In the order of their names, as Optuna has them.
    """
    distributions = {
        name: distribution_of(dimension)
        for name, dimension in sorted(space.dimensions.items())
        if dimension.condition is None
    }
    return {
        name: distribution
        for name, distribution in distributions.items()
        if not isinstance(distribution, CategoricalDistribution) and not distribution.single()
    }


@final
class _CmaEs(CmaEsSampler):
    """CMA-ES that is replayed from the trials of its generations.

    Optuna's keeps itself pickled among the trials: whoever wrote the storage could have any code run here.
    """

    def __init__(
        self, numbers: dict[str, BaseDistribution], direction: StudyDirection, *, seed: int, startup: int
    ) -> None:
        others = TPESampler(n_startup_trials=startup, seed=seed)
        super().__init__(seed=seed, independent_sampler=others, warn_independent_sampling=False)
        self._numbers = numbers
        self._direction = direction
        self._seed = seed

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        # Those of the space, not those that all trials so far happen to have: a state is of one number of dimensions.
        return dict(self._numbers)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        transform = _SearchSpaceTransform(self._numbers, transform_step=True, transform_0_1=True)
        optimizer = self._init_optimizer(transform, self._direction)
        # As if nothing had been drawn yet.
        self._cma_rng = LazyRandomState(self._seed)
        sign = -1.0 if self._direction == StudyDirection.MAXIMIZE else 1.0
        begun = optimizer.generation
        # The last whole generation is Optuna's to tell, as it is where it was just completed.
        while self._get_solution_trials(completed_trials, optimizer.generation + 1):
            told = self._get_solution_trials(completed_trials, optimizer.generation)[: optimizer.population_size]
            optimizer.tell([(transform.transform(trial.params), sign * (trial.value or 0.0)) for trial in told])
        return None if optimizer.generation == begun else optimizer

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        return {}
