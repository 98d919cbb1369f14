"""Between our dimensions and Ray Tune's domains.

Bounds are inclusive on our side; `tune.randint` and `tune.lograndint` leave their upper end out. Ray's form is flat: it
has no conditions, so a sample gives a value to every dimension and `config_of` keeps the ones that take part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from search_spaces import Choice, Config, Dimension, Float, InputError, Integer, SearchSpace, Value

# Ray draws on a logarithmic scale by exp(log(bound)), which can miss the bound by a rounding error.
_ROUNDING = 1e-9


def param_space(space: SearchSpace) -> dict[str, Any]:
    """What `tune.Tuner(param_space=...)` takes: one domain a dimension, whatever its condition.

    Raises:
        InputError: Ray is not installed.
    """
    return {name: domain_of(dimension) for name, dimension in space.dimensions.items()}


def config_of(space: SearchSpace, sample: Mapping[str, Any]) -> Config:
    """The config that a sample of `param_space(space)` stands for.

    Raises:
        InputError: a value is missing or lies outside its dimension.
    """
    values = {name: _within(space.dimensions[name], sample[name]) for name in space.dimensions if name in sample}
    return space.validate(space.activate(values))


def domain_of(dimension: Dimension) -> Any:
    """The `ray.tune` domain of a dimension, without its condition."""
    tune = _tune()
    match dimension:
        case Float(low, high, log):
            return tune.loguniform(low, high) if log else tune.uniform(low, high)
        case Integer(low, high, log):
            return tune.lograndint(low, high + 1) if log else tune.randint(low, high + 1)
        case Choice(options):
            return tune.choice(list(options))


def dimension_of(domain: Any) -> Dimension:
    """The dimension of a `ray.tune` domain, without a condition.

    Raises:
        InputError: it has no counterpart (quantised, normal, a grid, a function), or Ray is not installed.
    """
    sample = _tune().search.sample
    sampler = domain.get_sampler() if isinstance(domain, sample.Domain) else None
    if isinstance(sampler, sample.Uniform | sample.LogUniform):
        log = isinstance(sampler, sample.LogUniform)
        match domain:
            case sample.Float():
                return Float(domain.lower, domain.upper, log=log)
            case sample.Integer():
                return Integer(domain.lower, domain.upper - 1, log=log)
            case sample.Categorical():
                return Choice(*domain.categories)
    raise InputError(f"no dimension corresponds to {domain}: use uniform, loguniform, randint, lograndint or choice")


def _within(dimension: Dimension, value: Value) -> Value:
    if isinstance(dimension, Choice) or isinstance(value, bool | str):
        return value
    nearest = min(max(value, dimension.low), dimension.high)
    return nearest if math.isclose(value, nearest, rel_tol=_ROUNDING) else value


def _tune() -> ModuleType:
    try:
        import ray.tune
        import ray.tune.search.sample
    except ImportError as problem:
        raise InputError(f"Ray Tune cannot be loaded ({problem}): pip install 'pomona[ray]'") from None
    tune: ModuleType = ray.tune
    return tune
