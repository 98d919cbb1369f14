"""What a strategy is asked and what it answers: pure data, and the shapes of what it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search_spaces import Config

SHARE = 0.1
"""Of the time left, what a choice may take that nothing speaks for yet; and so may the recipe."""

MARGIN = 1.15
"""Predictions are off: a run that would end at the last moment would not."""


class Cost(Protocol):
    """Seconds of a group; of these, `shifted` are for scores on changed photos, and `race` for cross-validation."""

    @property
    def seconds(self) -> float: ...
    @property
    def shifted(self) -> float: ...
    @property
    def race(self) -> float: ...


class Costs(Protocol):
    """What predicts costs; `training.lanes.costs.CostModel`."""

    def predict(
        self, config: Config, lanes: int = 1, *, robust: bool = False, cross_validate: bool = False
    ) -> Cost: ...


@dataclass(frozen=True)
class TriedStages:
    """A config whose stages were trained, and the logarithm of its error; None where they came to nothing."""

    config: Config
    error: float | None


class Ladder(Protocol):
    """What knows the structures of a space; `training.models.ladder.Ladder`."""

    @property
    def base(self) -> tuple[str, ...]: ...
    @property
    def free(self) -> tuple[str, ...]: ...
    @property
    def climbs(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def descent(self) -> tuple[str, ...]: ...
    @property
    def small(self) -> Config: ...
    @property
    def settled(self) -> Config: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def bases(self) -> tuple[Config, ...]: ...
    def free_values(self) -> tuple[Config, ...]: ...
    def lowest(self, chosen: Config) -> Config: ...
    def above(self, base: Config, free: Config) -> tuple[Config, ...]: ...
    def rung(self, config: Config) -> int: ...
    def position(self, name: str, value: float | int | str | bool | None) -> float: ...
    def below(self, lower: Config, higher: Config) -> bool: ...
    def eased(self, structure: Config) -> Config | None: ...
    def is_ordered(self, name: str) -> bool: ...
    def completed(self, config: Config, tried: Sequence[TriedStages] = ()) -> Config: ...
    def varied(self, config: Config, tried: Sequence[TriedStages]) -> Config: ...


@dataclass(frozen=True)
class Further:
    """How else trials are scored than on the fixed split; as in `training.Job`."""

    robust: bool = False
    cross_validate: bool = False


ONLY_SPLIT = Further()
"""Nothing else."""


@dataclass(frozen=True)
class Arm:
    """What the next group trains.

    `structure` is common to its trials, and `common` values of their heads. `first` are further values of its first
    trial, all of its config where it was promoted from the trial `parent`, is the recipe or was `shipped` in the
    portfolio; the other `lanes` - 1 are the sampler's. `seconds` are those that are predicted of the group. `features`
    name what the structure's features are of.
    """

    structure: Config
    first: Config = field(default_factory=dict)
    common: Config = field(default_factory=dict)
    rung: int = 0
    lanes: int = 1
    parent: int | None = None
    recipe: bool = False
    shipped: bool = False
    seconds: float = 0.0
    further: Further = ONLY_SPLIT
    features: str = ""


@dataclass(frozen=True)
class Finished:
    """A trial that ended: its value of `n` examples, and that of cross-validation on `crossed_n`; None for none.

    `given_up` says that it was going to come to no good value.
    """

    number: int
    config: Config
    value: float | None
    n: int
    crossed: float | None = None
    crossed_n: int = 0
    given_up: bool = False


class Strategy(Protocol):
    """What decides which structure is next: `Rungs`, or `Whole` where nothing is frozen."""

    halves: bool
    """Whether its rungs are successive halving by themselves, so that the default pruner has nothing to add."""
    recipe_done: bool
    """Whether the recipe has been run."""
    recipe_seconds: float | None
    """What the recipe was last expected to take; None where nobody asked yet."""
    recipe_problem: str
    """Why the recipe is not run whatever it takes; empty where nothing speaks against it."""

    def began(self, config: Config) -> None:
        """A group was given out whose trials have the structure of `config`."""

    def done(self, config: Config) -> None:
        """It has ended."""

    def ended(self, trial: Finished) -> None:
        """A trial has ended, now or in an earlier process."""

    def in_vain(self, arm: Arm, trials: int | None = None) -> None:
        """There is no trial for what `next` gave, with `trials` as it was asked: the study has had all that it could
        be. What is the only thing left is not to be given again and again."""

    def next(self, left: float, trials: int | None = None, passed: float = math.inf) -> Arm | None:
        """The next group, to be trained in `left` seconds and with `trials` more trials at most; None to end.

        The search took `passed` seconds so far; what does not end by time takes no heed of them. The first group is
        given whatever it takes: a search has to come to something.
        """

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        """Whether a trial under way is to be given up at this value."""
