"""Older ways to ask what a config says about shapes and shared work: `Spec` answers all of these itself."""

from __future__ import annotations

from search_spaces import Config

from .spec import Phase as Phase
from .spec import Structure as Structure
from .spec import most_unfrozen as most_unfrozen
from .spec import spec_of
from .spec import structure_part as structure_part

_RATE: Config = {"learning_rate": 0.0}


def backbone_of(config: Config) -> str:
    """The backbone's name; of a network that begins with random weights, with what decides its shape."""
    return spec_of(_RATE | config).backbone.name


def from_scratch(config: Config) -> bool:
    """Whether all of the network that can be is trained, from random weights, in one phase."""
    return spec_of(_RATE | config).backbone.from_scratch


def structure_of(config: Config, stages: int) -> Structure:
    return spec_of(_RATE | config).structure(stages)


def phases_of(config: Config, structure: Structure, stages: int, epochs: int) -> tuple[Phase, ...]:
    return spec_of(_RATE | config).phases(stages, epochs)
