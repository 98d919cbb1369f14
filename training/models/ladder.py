"""How the configs of a space climb from cheap to dear: heads on frozen features, heads on augmented views, then stages.

The number of trained layers is a fidelity: ranks carry over while compute falls (arXiv 2504.10735). Here the lowest one
is nearly free, as the outputs of frozen stages are kept. A ladder names the dimensions, so that whoever searches can
climb without knowing what they mean.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from search_spaces import Choice, Config, Dimension, Integer, SearchSpace, Value

from .backbones import family_of, needs_weights
from .descent import TriedStages, first_descent, next_descent
from .dimensions import dimensions_of
from .spec import ADAMW, BACKBONE, UNFROZEN, HeadSpec, InputSpec, OptimizerSpec, stages_of

_RESOLUTION, _BATCH, _AUGMENTATION, _VIEWS = (
    dimensions_of(InputSpec)[field] for field in ("resolution", "batch_size", "augmentation", "views")
)
# Of a range, so many values at most stand for all.
_MOST_VALUES = 9
# Photos of the same kind can't tell it from others, those of other people can (docs/decisions/0033), as in Kumar et al.
# (2022, arXiv 2211.09359).
_SETTLED: Config = {dimensions_of(OptimizerSpec)["name"]: ADAMW}


@dataclass(frozen=True, eq=False)
class Ladder:
    """The structures of a space, by what they cost.

    Attributes:
        space: the space they belong to.
        base: dimensions that decide what the features are of.
        free: dimensions of a structure that change neither features nor fidelity.
        climbs: by rung, 1 and 2, the dimensions that are raised to reach it.
        small: the values of heads that cost least, with which features are tried first.
        settled: how what is pretrained is trained, where that is not searched, as the validation examples do not tell
            which value is better.
    """

    space: SearchSpace
    base: tuple[str, ...]
    free: tuple[str, ...]
    climbs: tuple[tuple[str, ...], ...]
    small: Config
    settled: Config

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All dimensions of a structure."""
        return (*self.base, *self.free, *itertools.chain(*self.climbs))

    @cached_property
    def descent(self) -> tuple[str, ...]:
        """The dimensions of how stages train, which take part where some do."""
        conditions = {name: one.condition for name, one in self.space.dimensions.items() if name not in self.names}
        stages = self.climbs[-1] if self.climbs else ()
        return tuple(name for name, one in conditions.items() if one is not None and one.other in stages)

    def values(self, name: str) -> tuple[Value, ...]:
        """The values of a dimension in rising order; those of a wide range are thinned out. Names stay as they are."""
        return self._values[name]

    @cached_property
    def _values(self) -> dict[str, tuple[Value, ...]]:
        return {name: _rising(name, self.space.dimensions[name]) for name in self.names}

    def bases(self) -> tuple[Config, ...]:
        """Every choice of features, those of the first backbone first, with rising resolution."""
        return tuple(self._products(self.base, {}))

    def free_values(self) -> tuple[Config, ...]:
        return tuple(self._products(self.free, {}))

    def lowest(self, chosen: Config) -> Config:
        """A structure at rung 0 with these values of `base` and `free`."""
        structure: Config = {}
        for name in self.names:
            if name in chosen:
                structure[name] = chosen[name]
            elif self._active(name, structure):
                structure[name] = self.values(name)[0]
        return structure

    def above(self, base: Config, free: Config) -> tuple[Config, ...]:
        """Every structure on these features but the lowest."""
        climbing = tuple(itertools.chain(*self.climbs))
        lowest = self.lowest(base | free)
        return tuple(structure for structure in self._products(climbing, base | free) if structure != lowest)

    def rung(self, config: Config) -> int:
        """The highest rung whose dimensions are raised; 0 where none is."""
        raised = [
            rung
            for rung, names in enumerate(self.climbs, 1)
            if any(name in config and self.position(name, config[name]) > 0 for name in names if self._leads(name))
        ]
        return max(raised, default=0)

    def position(self, name: str, value: Value | None) -> float:
        """Where `value` stands among those of its dimension, 0 to 1; 0 where the dimension takes no part."""
        values = self.values(name)
        if value is None or len(values) < 2:
            return 0.0
        if value in values:
            return values.index(value) / (len(values) - 1)
        if name == _VIEWS and value == 0:
            return 1.0
        # Between those that stand for all of a range.
        below = sum(isinstance(value, int | float) and float(other) < value for other in values)
        return min(below, len(values) - 1) / (len(values) - 1)

    def below(self, lower: Config, higher: Config) -> bool:
        """Whether a trial of `lower` can be promoted to `higher`: equal features, and no dimension falls."""
        if any(lower.get(name) != higher.get(name) for name in (*self.base, *self.free)):
            return False
        climbing = tuple(itertools.chain(*self.climbs))
        return all(self.position(name, lower.get(name)) <= self.position(name, higher.get(name)) for name in climbing)

    def eased(self, structure: Config) -> Config | None:
        """`structure` with one step less of what takes part on a rung without leading to it, such as the number of
        augmented views; None where there is nothing less."""
        eased: Config = {}
        for name in itertools.chain(*self.climbs):
            if name in structure and not self._leads(name):
                values = self.values(name)
                if structure[name] in values[1:]:
                    eased[name] = values[values.index(structure[name]) - 1]
        return structure | eased if eased else None

    def agrees(self, config: Config) -> bool:
        """Whether `config`, found elsewhere, has what is settled."""
        return self.settled.items() <= config.items()

    def is_ordered(self, name: str) -> bool:
        """Whether the values of a dimension have an order."""
        dimension = self.space.dimensions[name]
        return (
            name == UNFROZEN
            or isinstance(dimension, Integer)
            or all(
                isinstance(value, int | float)
                for value in dimension.options  # type: ignore[union-attr]
            )
        )

    def completed(self, config: Config, tried: Sequence[TriedStages] = ()) -> Config:
        """`config` without what takes no part, and with sound values for how stages train where it says nothing: what
        those that were `tried` on the same backbone have taught."""
        active = {name: config[name] for name in self.space.dimensions if name in config and self._active(name, config)}
        return active | first_descent(self.space, active, tried)

    def varied(self, config: Config, tried: Sequence[TriedStages]) -> Config:
        """`config`, of stages that were trained before, with another rate for them; as it is where none is next."""
        return config | next_descent(self.space, config, tried)

    def _leads(self, name: str) -> bool:
        """Whether a dimension says by itself that its rung is reached: one that only takes part there does not."""
        condition = self.space.dimensions[name].condition
        return condition is None or all(condition.other not in names for names in self.climbs)

    def _active(self, name: str, chosen: Mapping[str, Value]) -> bool:
        condition = self.space.dimensions[name].condition
        return condition is None or condition.holds(dict(chosen))

    def _products(self, names: Sequence[str], chosen: Config) -> Iterator[Config]:
        if not names:
            yield dict(chosen)
            return
        name, *others = names
        if not self._active(name, chosen):
            yield from self._products(others, chosen)
            return
        for value in self.values(name):
            yield from self._products(others, chosen | {name: value})


def ladder_of(space: SearchSpace, asked: Container[str] = ()) -> Ladder | None:
    """The ladder of a space of transfer learning; None where nothing of a config is frozen.

    Networks that begin with random weights stand on no rung: where there are others, they are left out. What was
    `asked` for by name is searched in any case, not settled.
    """
    dimensions = space.dimensions
    backbone = dimensions.get(BACKBONE)
    if not isinstance(backbone, Choice) or all(family_of(str(name)) is not None for name in backbone.options):
        return None
    if UNFROZEN in dimensions and not isinstance(dimensions[UNFROZEN], Choice | Integer):
        return None

    def there(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in dimensions)

    return Ladder(
        space,
        base=there(BACKBONE, _RESOLUTION),
        free=there(_BATCH),
        climbs=(there(_AUGMENTATION, _VIEWS), there(UNFROZEN)),
        small=_smallest_head(space),
        settled=_settled(space, asked) if any(needs_weights(str(name)) for name in backbone.options) else {},
    )


def _smallest_head(space: SearchSpace) -> Config:
    names = dimensions_of(HeadSpec)
    found: Config = {}
    for name in (names["width"], names["layers"]):
        if (dimension := space.dimensions.get(name)) is not None and dimension.condition is None:
            found[name] = _rising(name, dimension)[0]
    return found


def _settled(space: SearchSpace, asked: Container[str]) -> Config:
    possible = {name: dimension for name, dimension in space.dimensions.items() if name not in asked}
    # What takes part beside another value only, as the momentum does, was asked for in vain else.
    conditions = [
        one.condition for name, one in space.dimensions.items() if name in asked and one.condition is not None
    ]
    return {
        name: value
        for name, value in _SETTLED.items()
        if name in possible
        and possible[name].condition is None
        and possible[name].problem(value) is None
        and all(condition.other != name or value in condition.is_in for condition in conditions)
    }


def _rising(name: str, dimension: Dimension) -> tuple[Value, ...]:
    if isinstance(dimension, Choice):
        options = tuple(dimension.options)
        if name == BACKBONE:
            return tuple(option for option in options if family_of(str(option)) is None)
        if name == UNFROZEN:
            return tuple(sorted(options, key=stages_of))
        if name == _VIEWS:
            # None at all is a new one in every epoch, which costs most.
            return tuple(sorted(options, key=lambda views: float(views) or math.inf))
        return tuple(sorted(options, key=float)) if all(isinstance(o, int | float) for o in options) else options
    if isinstance(dimension, Integer):
        count = min(dimension.high - dimension.low + 1, _MOST_VALUES)
        span = dimension.high - dimension.low
        return tuple(dimension.low + round(place * span / max(count - 1, 1)) for place in range(count))
    raise TypeError(f"{name} is continuous: it can't decide a structure")
