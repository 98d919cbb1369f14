"""What a search is to try of a dimension: one value, a range, or some values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .dimensions import Choice, Dimension, Float, Integer, Value
from .errors import InputError


@dataclass(frozen=True, repr=False)
class Part:
    """A part of a dimension: all values in `range`, bounds included, or else these `options`."""

    range: tuple[int | float, int | float] | None = None
    options: tuple[Value, ...] = ()

    def __repr__(self) -> str:
        """As it is typed on a command line."""
        if self.range is not None:
            return f"{self.range[0]}..{self.range[1]}"
        return ",".join(map(str, self.options))


Narrowing = Mapping[str, Value | Part]
"""What is to be tried, by the names of dimensions; all of the others."""


def narrowed(name: str, dimension: Dimension, wanted: Value | Part) -> Dimension:
    """The dimension `name` with nothing but what is wanted. A range keeps its scale; its condition is left out.

    Of a choice of numbers, a range takes the options that lie in it.

    Raises:
        InputError: the dimension has no such values.
    """
    if not isinstance(wanted, Part):
        return Choice(_checked(name, dimension, wanted))
    if wanted.range is None:
        options = [_checked(name, dimension, option) for option in wanted.options]
        try:
            return Choice(*options)
        except InputError as problem:
            raise InputError(f"{name}: {problem}") from None
    low, high = wanted.range
    if low > high:
        raise InputError(f"{name}={wanted!r} is the wrong way round: {low} > {high}")
    if isinstance(dimension, Choice):
        _numbers_or_error(name, dimension)
        within = [option for option in dimension.options if not isinstance(option, str) and low <= option <= high]
        if not within:
            raise InputError(f"{name} has no option from {low} to {high}: it has {_listed(dimension)}")
        return Choice(*within)
    for bound in (low, high):
        _checked(name, dimension, bound)
    if isinstance(dimension, Integer):
        return Integer(int(low), int(high), log=dimension.log)
    return Float(low, high, log=dimension.log)


def parsed(name: str, dimension: Dimension, text: str) -> Value | Part:
    """`value`, `low..high` or `a,b,c` as typed on a command line; a value or an option is not checked.

    Raises:
        InputError: a bound is not a number, or the dimension has no order.
    """
    value = dimension.parse(text)
    if dimension.problem(value) is None:
        return value
    low, dots, high = text.partition("..")
    if dots:
        if high.startswith("."):
            # Three dots: of 0...5 nobody can tell whether 5 or .5 is meant.
            raise InputError(f"a range is written low..high, with two dots and 0.5 for .5, not {name}={text}")
        if isinstance(dimension, Choice):
            _numbers_or_error(name, dimension)
        return Part(range=(_number(name, text, low), _number(name, text, high)))
    if "," in text:
        return Part(options=tuple(dimension.parse(part.strip()) for part in text.split(",")))
    return value


def _checked(name: str, dimension: Dimension, value: Value) -> Value:
    if (problem := dimension.problem(value)) is not None:
        raise InputError(f"{name} {problem}")
    return value


def _numbers_or_error(name: str, dimension: Choice) -> None:
    if any(isinstance(option, str | bool) for option in dimension.options):
        raise InputError(f"{name} has no order and so no range: name some of {_listed(dimension)}")


def _listed(dimension: Choice) -> str:
    return ", ".join(map(str, dimension.options))


def _number(name: str, text: str, bound: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(bound)
        except ValueError:
            continue
    raise InputError(f"a range is written low..high, in numbers, not {name}={text}")
