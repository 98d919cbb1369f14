"""A search space: named dimensions, and what may be asked of them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from .dimensions import Choice, Config, Dimension, Integer, Value, When
from .errors import InputError
from .narrowing import Narrowing, Part, narrowed, parsed


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Named, typed dimensions. A condition may only name a dimension that stands before its own."""

    dimensions: Mapping[str, Dimension]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", MappingProxyType(dict(self.dimensions)))
        seen: dict[str, Dimension] = {}
        for name, dimension in self.dimensions.items():
            if not name.isidentifier():
                raise InputError(f"a dimension's name must be an identifier, not {name!r}")
            if (condition := dimension.condition) is not None:
                if condition.other not in seen:
                    raise InputError(f"{name} depends on {condition.other!r}, which does not stand before it")
                for value in condition.is_in:
                    if (problem := seen[condition.other].problem(value)) is not None:
                        raise InputError(f"{name} waits for a value that cannot come: {condition.other} {problem}")
            seen[name] = dimension

    def __reduce__(self) -> tuple[type[SearchSpace], tuple[dict[str, Dimension]]]:
        # A read-only view of a dict does not pickle.
        return SearchSpace, (dict(self.dimensions),)

    def __eq__(self, other: object) -> bool:
        # By digest: as values 1, 1.0 and True are equal, as options of a space they are not.
        return isinstance(other, SearchSpace) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def active(self, config: Config) -> tuple[str, ...]:
        """Names of the dimensions that take part, given the values in `config`, in the space's order."""
        chosen: Config = {}
        for name, dimension in self.dimensions.items():
            if dimension.condition is None or dimension.condition.holds(chosen):
                if name not in config:
                    raise InputError(f"{name} is missing")
                chosen[name] = config[name]
        return tuple(chosen)

    def validate(self, config: Config) -> Config:
        """`config` with its names in the space's order; inactive names are an error.

        Raises:
            InputError: a name is unknown, missing or inactive, or a value lies outside its dimension.
        """
        for name in config:
            if name not in self.dimensions:
                raise InputError(f"unknown dimension {name!r}; the space has {', '.join(self.dimensions)}")
        checked = self.activate(config)
        for name in config:
            if name not in checked:
                condition = self.dimensions[name].condition
                assert condition is not None
                raise _without_meaning(name, condition)
        for name, value in checked.items():
            if (problem := self.dimensions[name].problem(value)) is not None:
                raise InputError(f"{name} {problem}")
        return checked

    def check_part(self, values: Config) -> None:
        """Whether `values` can be a part of a config.

        Raises:
            InputError: a name is unknown, a value lies outside its dimension, or one has no meaning beside another.
        """
        for name, value in values.items():
            dimension = self._named(name)
            if (problem := dimension.problem(value)) is not None:
                raise InputError(f"{name} {problem}")
            condition = dimension.condition
            if condition is not None and condition.other in values and not condition.holds(values):
                raise _without_meaning(name, condition)

    def activate(self, values: Mapping[str, Value]) -> Config:
        """The part of `values` that takes part; values are not checked. For flat forms such as Ray's."""
        return {name: values[name] for name in self.active(dict(values))}

    def replace(self, **dimensions: Dimension) -> SearchSpace:
        """This space with some dimensions exchanged; `Choice(x)` fixes one.

        A new dimension that brings a condition of its own has that one; without one it keeps the condition of the
        dimension that it stands in for. A condition loses the values that can no longer come; a dimension that can no
        longer take part leaves. `Task.with_space` makes the recipe follow.

        Raises:
            InputError: a name is unknown, or a condition names a dimension that does not stand before its own.
        """
        for name in dimensions:
            if name not in self.dimensions:
                raise InputError(f"unknown dimension {name!r}; the space has {', '.join(self.dimensions)}")
        result: dict[str, Dimension] = {}
        for name, old in self.dimensions.items():
            dimension = dimensions.get(name, old)
            if dimension.condition is not None and dimension.condition != old.condition:
                # Brought along by the caller: what is wrong with it is said by the constructor, not narrowed away.
                result[name] = dimension
                continue
            if (condition := old.condition) is not None:
                other = result.get(condition.other)
                possible = [v for v in condition.is_in if other is not None and other.problem(v) is None]
                if not possible:
                    continue
                dimension = dimension.when(condition.other, possible)
            result[name] = dimension
        return SearchSpace(result)

    def fix(self, values: Mapping[str, Value]) -> SearchSpace:
        """This space with some dimensions held at one value each.

        Raises:
            InputError: a name is unknown or a value lies outside its dimension.
        """
        return self.narrow(values)

    def narrow(self, wanted: Narrowing) -> SearchSpace:
        """This space with some dimensions narrowed to one value, a range, or some values; scales and conditions stay.

        Raises:
            InputError: a name is unknown, or its dimension has no such values.
        """
        return self.replace(**{name: narrowed(name, self._named(name), part) for name, part in wanted.items()})

    def check_narrowing(self, wanted: Narrowing) -> None:
        """Whether each dimension that is narrowed still takes part beside the others.

        Raises:
            InputError: one has no meaning any more, a name is unknown, or its dimension has no such values.
        """
        left = self.narrow(wanted).dimensions
        for name in wanted:
            if name not in left and (condition := self.dimensions[name].condition) is not None:
                raise _without_meaning(name, condition)

    def adapt(self, recipe: Mapping[str, Value]) -> tuple[Config, list[str]]:
        """`recipe`, made for another space, as a config of this one, and what was changed in words.

        A value that this space does not have becomes the first that it has (the low end of a range), a dimension that
        takes part here for the first time gets its first value, and one that does not take part is left out.
        """
        values: Config = {}
        changes: list[str] = []
        for name, dimension in self.dimensions.items():
            if dimension.condition is not None and not dimension.condition.holds(values):
                continue
            first = dimension.options[0] if isinstance(dimension, Choice) else dimension.low
            value = recipe.get(name, first)
            if dimension.problem(value) is not None:
                value = first
            values[name] = value
            if name not in recipe:
                changes.append(f"{name} {value}")
            elif value != recipe[name]:
                changes.append(f"{name} {value} for {recipe[name]}")
        return values, changes

    def sample(self, generator: random.Random) -> Config:
        """A config drawn at random: every dimension evenly, on its own scale."""
        config: Config = {}
        for name, dimension in self.dimensions.items():
            if dimension.condition is not None and not dimension.condition.holds(config):
                continue
            if isinstance(dimension, Choice):
                config[name] = generator.choice(dimension.options)
                continue
            ends = (math.log(dimension.low), math.log(dimension.high)) if dimension.log else None
            value = (
                generator.uniform(dimension.low, dimension.high) if ends is None else math.exp(generator.uniform(*ends))
            )
            value = min(max(value, dimension.low), dimension.high)
            if isinstance(dimension, Integer):
                value = generator.randint(dimension.low, dimension.high) if ends is None else round(value)
            config[name] = value
        return config

    def parse(self, assignments: list[str]) -> Config:
        """`["name=value", ...]`, as typed on a command line, as values of the dimensions' types (not checked).

        Raises:
            InputError: one is no such text, or a name is unknown or comes twice.
        """
        return {name: self._named(name).parse(text) for name, text in _assigned(assignments, "leave one out")}

    def parse_narrowing(self, assignments: list[str]) -> dict[str, Value | Part]:
        """`["name=value", "name=low..high", "name=a,b", ...]`, as typed on a command line, for `narrow` to check.

        Raises:
            InputError: one is no such text, or a name is unknown or comes twice.
        """
        several = "several values are written dim=a,b"
        return {name: parsed(name, self._named(name), text) for name, text in _assigned(assignments, several)}

    def _named(self, name: str) -> Dimension:
        if name not in self.dimensions:
            raise InputError(f"unknown dimension {name!r}; the space has {', '.join(self.dimensions)}")
        return self.dimensions[name]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change with any dimension, its order or its bounds."""
        described = [[name, type(d).__name__, asdict(d)] for name, d in self.dimensions.items()]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _without_meaning(name: str, condition: When) -> InputError:
    values = ", ".join(str(value) for value in condition.is_in)
    return InputError(f"{name} has no meaning here: it counts only where {condition.other} is {values}")


def _assigned(assignments: Iterable[str], instead_of_two: str) -> Iterator[tuple[str, str]]:
    """The names and the texts of `["name=text", ...]`; `instead_of_two` says what to do where a name comes twice."""
    seen: set[str] = set()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"expected dim=value, not {assignment!r}")
        if name in seen:
            raise InputError(f"{name} is set twice: {instead_of_two}")
        seen.add(name)
        yield name, text
