"""The list of configs that every method trains: drawn from a task's space, always the same for a seed."""

from __future__ import annotations

import math
import zlib

import numpy as np

from search_spaces import Choice, Config, Dimension, Float, Integer, SearchSpace, Task, Value
from search_spaces.benchmarks import DEPTHS, at_depth, narrowed


def draw_configs(task: Task, fixed: Config, count: int, seed: int) -> list[Config]:
    """`count` configs with 0 to 3 unfrozen stages in turn; a longer list begins with the shorter one.

    Rates lie in a band in which a trial of a few epochs learns; whatever is not `fixed` is drawn from the task's space.
    """
    space = narrowed(task.space).fix(fixed)
    return [
        task.space.validate(draw(at_depth(space, DEPTHS[number % len(DEPTHS)]), (seed, number)))
        for number in range(count)
    ]


def draw(space: SearchSpace, seed: tuple[int, ...]) -> Config:
    """One config of `space`. Every dimension has a generator of its own: a new one leaves the others as they are."""
    config: Config = {}
    for name, dimension in space.dimensions.items():
        if dimension.condition is None or dimension.condition.holds(config):
            config[name] = _value(dimension, np.random.default_rng([*seed, zlib.crc32(name.encode())]))
    return config


def _value(dimension: Dimension, generator: np.random.Generator) -> Value:
    match dimension:
        case Choice(options):
            return options[int(generator.integers(len(options)))]
        case Integer(low, high, log):
            if log:
                # Each whole number stands for the stretch half-way to its neighbours.
                drawn = round(math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5))))
                return min(max(drawn, low), high)
            return int(generator.integers(low, high, endpoint=True))
        case Float(low, high, log):
            if log:
                return min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high)
            return float(generator.uniform(low, high))
