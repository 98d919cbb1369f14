"""Between our dimensions and Optuna's distributions. Both count their bounds in."""

from __future__ import annotations

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces import Choice, Config, Dimension, Float, InputError, Integer, SearchSpace, Value


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """The distribution of a dimension; its condition is not part of it, see `suggest`."""
    match dimension:
        case Float(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Integer(low, high, log):
            return IntDistribution(low, high, log=log)
        case Choice(options):
            return CategoricalDistribution(options)


def dimension_of(distribution: BaseDistribution) -> Dimension:
    """The dimension of a distribution, without a condition.

    Raises:
        InputError: it has no counterpart: a step, or a `None` among its choices.
    """
    match distribution:
        case FloatDistribution(step=None):
            return Float(distribution.low, distribution.high, log=distribution.log)
        case IntDistribution(step=1):
            return Integer(distribution.low, distribution.high, log=distribution.log)
        case CategoricalDistribution():
            return Choice(*(_option(choice) for choice in distribution.choices))
    raise InputError(f"no dimension corresponds to {distribution}: use a range without a step, or choices")


def suggest(trial: optuna.trial.BaseTrial, space: SearchSpace) -> Config:
    """A config of `space` from `trial`; a dimension is asked for only where its condition holds.

    Raises:
        InputError: a value that was enqueued or fixed lies outside its dimension.
    """
    config: Config = {}
    for name, dimension in space.dimensions.items():
        if dimension.condition is None or dimension.condition.holds(config):
            config[name] = _suggest(trial, name, dimension)
    return space.validate(config)


def _suggest(trial: optuna.trial.BaseTrial, name: str, dimension: Dimension) -> Value:
    match dimension:
        case Float(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case Integer(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Choice(options):
            return _option(trial.suggest_categorical(name, options))


def _option(choice: Value | None) -> Value:
    if choice is None:
        raise InputError("a Choice holds strings, booleans and finite numbers, not None")
    return choice
