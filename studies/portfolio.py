"""Configs that were near the best on most tasks of recorded studies: what a new search may try first.

They are data, `portfolio.json` beside this file, made by `python -m bench.portfolio make`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from search_spaces import Choice, Config, Dimension, SearchSpace, Value
from search_spaces.transfer import transfer_dimensions
from training.machine.decode import decoded

from .records import config_key

FILE = "portfolio.json"


@dataclass(frozen=True)
class ShippedConfig:
    """A config of the portfolio, as it was found; `values` are what it was worth, by task."""

    config: Config
    found_on: str
    values: dict[str, float]


@dataclass(frozen=True)
class Portfolio:
    """What the file holds: the configs, the most useful first."""

    configs: tuple[ShippedConfig, ...] = ()


def portfolio_for(space: SearchSpace) -> list[Config]:
    """The shipped configs as configs of `space`, the most useful first, without repeats.

    A value that `space` does not have, that of a backbone without weights for example, becomes the nearest number or
    else the first value that it has. Empty where `space` is not one of transfer learning, and where the environment
    says POMONA_PORTFOLIO=off, as benchmarks do on tasks that the configs were found on.
    """
    if os.environ.get("POMONA_PORTFOLIO") == "off" or not is_transfer_space(space):
        return []
    found = (adapted(shipped.config, space) for shipped in shipped_portfolio().configs)
    return list({config_key(config): config for config in found}.values())


@functools.cache
def shipped_portfolio() -> Portfolio:
    """What is shipped; empty where nothing is."""
    file = resources.files(__package__ or "studies") / FILE
    return decoded(json.loads(file.read_bytes()), Portfolio) if file.is_file() else Portfolio()


def is_transfer_space(space: SearchSpace) -> bool:
    """Whether a space is one of transfer learning from photos, perhaps with some dimensions fixed."""
    # Here, as they import torch, which what only reads records does without.
    from training.models.backbones import needs_weights
    from training.models.spec import BACKBONE

    always = [name for name, dimension in transfer_dimensions().items() if dimension.condition is None]
    if any(name not in space.dimensions for name in always):
        return False
    backbones = space.dimensions[BACKBONE]
    return isinstance(backbones, Choice) and any(needs_weights(str(name)) for name in backbones.options)


def adapted(config: Mapping[str, Value], space: SearchSpace) -> Config:
    """`config` as one of `space`: numbers that it does not have become the nearest that it has."""
    near = {
        name: _nearest(space.dimensions[name], value) if name in space.dimensions else value
        for name, value in config.items()
    }
    return space.validate(space.adapt(near)[0])


def _nearest(dimension: Dimension, value: Value) -> Value:
    if dimension.problem(value) is None or isinstance(value, str | bool):
        return value
    if not isinstance(dimension, Choice):
        return min(max(value, dimension.low), dimension.high)
    numbers = [option for option in dimension.options if not isinstance(option, str | bool)]
    return min(numbers, key=lambda option: abs(option - value)) if numbers else value
