"""How the stages of a config are to train that was never tried: as those that were, or at sound rates.

Rates that suit one stage upset five, and what suits a backbone on some data is seldom told by its name. So a search
begins with rates that are known to be sound, and goes on with what its own trials have taught.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from search_spaces import Config, Float, Integer, SearchSpace, Value

from .dimensions import dimensions_of, from_config
from .spec import ADAMW, SGD, UNFROZEN, OptimizerSpec, ScheduleSpec, stages_of

# Learning rates at which pretrained stages go on learning, by optimizer: those of the head are ten to a hundred times
# as high (Howard and Ruder 2018, arXiv 1801.06146; Kumar et al. 2022, arXiv 2202.10054). That of SGD is for this
# momentum: what a step comes to in the end is the rate over 1 - momentum.
_STAGE_RATES, _MOMENTUM = {ADAMW: 1e-4, SGD: 2e-3}, 0.9
# Of a rate at which stages came to nothing, what is tried next.
_SLOWER = 0.25
# Rates that differ by rounding alone.
_SAME = 1.001
# Of rates that differ by no more than this factor the second tells little.
_NEAR = 2.0


class TriedStages(Protocol):
    """A config whose stages were trained, and its error; None where they came to nothing."""

    @property
    def config(self) -> Config: ...
    @property
    def error(self) -> float | None: ...


@dataclass(frozen=True)
class _Descent:
    """How stages train. `step` is their learning rate, of SGD what it comes to over 1 - momentum."""

    step: float
    share: float = 0.5
    statistics: Value = "pretrained"


def first_descent(space: SearchSpace, config: Config, tried: Sequence[TriedStages] = ()) -> Config:
    """Values of what a config of unfrozen stages says about their training, where `config` says nothing of it.

    Which ones are good depends on the data, so this is where a search begins, not what it stays with. Of what was
    `tried` with the same optimizer, the best of those with the nearest number of stages is followed: fewer stages no
    further than to the rate that is known to be sound, as a rate that suits one may upset two. Where more often than
    not it came to nothing at such a rate, a quarter of it is next; where all of it was slower than the sound rate, that
    is next.
    """
    optimizer = from_config(OptimizerSpec, config)
    return _values(space, config, _descent(optimizer.name, stages_of(config.get(UNFROZEN, 0)), tried))


def next_descent(space: SearchSpace, config: Config, tried: Sequence[TriedStages]) -> Config:
    """As `first_descent`, where as many stages were trained before: at four times the best rate so far, or at a quarter
    of it, whichever has not been tried nearly so. Empty where both were, or nothing came to anything.

    What rate is best differs by a factor of ten between data sets, and is seldom the one that a search begins with.
    """
    optimizer, stages = from_config(OptimizerSpec, config), stages_of(config.get(UNFROZEN, 0))
    alike = [one for one in tried if _stages(one) == stages and _optimizer_of(one) == optimizer.name]
    good = [(one.error, _how(one.config)) for one in alike if one.error is not None]
    if not good:
        return {}
    best = min(good, key=lambda each: each[0])[1]
    steps = [_how(one.config).step for one in alike]
    too_fast = min((_how(one.config).step for one in alike if one.error is None), default=math.inf)
    for factor in (1 / _SLOWER, _SLOWER):
        values = _values(space, config, replace(best, step=factor * best.step))
        step = _how(config | values).step
        if step < too_fast and all(max(step / each, each / step) > _NEAR for each in steps):
            return values
    return {}


def _values(space: SearchSpace, config: Config, descent: _Descent) -> Config:
    """The dimensions that say so, as far as `config` says nothing of them and the space has them."""
    names = dimensions_of(ScheduleSpec)
    optimizer = from_config(OptimizerSpec, config)
    wanted: Config = {
        names["fine_tune_share"]: descent.share,
        names["fine_tune_rate"]: descent.step * _over_momentum(optimizer) / optimizer.learning_rate,
        names["keeps_statistics"]: descent.statistics,
    }
    found: Config = {}
    for name, value in wanted.items():
        dimension = space.dimensions.get(name)
        if dimension is None or name in config:
            continue
        if dimension.condition is not None and not dimension.condition.holds(config):
            continue
        if isinstance(dimension, Float | Integer):
            value = min(max(float(value), dimension.low), dimension.high)
        if dimension.problem(value) is None:
            found[name] = value
    return found


def _descent(optimizer: str, stages: int, tried: Sequence[TriedStages]) -> _Descent:
    """How so many stages are to train with an optimizer of that name."""
    sound = _Descent(_STAGE_RATES[optimizer] / (1 - _MOMENTUM if optimizer == SGD else 1.0))
    alike = [one for one in tried if _optimizer_of(one) == optimizer]
    good = [one for one in alike if one.error is not None]
    descent = sound
    if good:
        nearest = min(good, key=lambda one: (abs(_stages(one) - stages), _stages(one) < stages, one.error))
        descent = _how(nearest.config)
        if _stages(nearest) < stages:
            descent = replace(descent, step=min(descent.step, sound.step))
        # A recipe may train stages so slowly that nothing can go wrong, nor much be gained.
        if not any(_how(one.config).step * _NEAR * _SAME >= sound.step for one in alike):
            descent = replace(descent, step=sound.step)
    # What goes well with more stages, or at a higher rate, goes well here; what does not with fewer, or at a lower one,
    # does not here.
    well = [_how(one.config).step for one in good if _stages(one) >= stages]
    badly = [_how(one.config).step for one in alike if one.error is None and _stages(one) <= stages]

    def often_in_vain(step: float) -> bool:
        return sum(each <= step * _SAME for each in badly) > sum(each * _SAME >= step for each in well)

    while often_in_vain(descent.step):
        descent = replace(descent, step=_SLOWER * descent.step)
    return descent


def _how(config: Config) -> _Descent:
    optimizer, schedule = from_config(OptimizerSpec, config), from_config(ScheduleSpec, config)
    step = optimizer.learning_rate * schedule.fine_tune_rate / _over_momentum(optimizer)
    name = dimensions_of(ScheduleSpec)["keeps_statistics"]
    return _Descent(step, schedule.fine_tune_share, config.get(name, _Descent.statistics))


def _over_momentum(optimizer: OptimizerSpec) -> float:
    return 1 - optimizer.momentum if optimizer.name == SGD else 1.0


def _optimizer_of(one: TriedStages) -> str:
    return from_config(OptimizerSpec, one.config).name


def _stages(one: TriedStages) -> int:
    return stages_of(one.config.get(UNFROZEN, 0))
