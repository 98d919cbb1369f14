"""Typed dimensions of a search space. Bounds are inclusive, here and in every form derived from these."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .errors import InputError

Value = float | int | str | bool
Config = dict[str, Value]


@dataclass(frozen=True)
class When:
    """The condition under which a dimension takes part: another dimension has one of these values."""

    other: str
    is_in: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.other:
            raise InputError("a condition needs the name of another dimension")
        if not self.is_in:
            raise InputError(f"a condition on {self.other!r} needs at least one value")

    def holds(self, config: Config) -> bool:
        return self.other in config and any(same_value(config[self.other], value) for value in self.is_in)


def same_value(a: Value, b: Value) -> bool:
    """Equality that keeps `True` apart from `1`; an integer and a float of one value are equal."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


@dataclass(frozen=True)
class Float:
    """A real number in [low, high]; searched on a logarithmic scale where `log`."""

    low: float
    high: float
    log: bool = False
    condition: When | None = None

    def __post_init__(self) -> None:
        if not (_is_number(self.low) and _is_number(self.high)):
            raise InputError(f"Float bounds must be finite numbers, not {self.low!r} and {self.high!r}")
        if self.low > self.high:
            raise InputError(f"Float bounds are the wrong way round: {self.low} > {self.high}")
        if self.log and self.low <= 0:
            raise InputError(f"a logarithmic Float needs a low bound above 0, not {self.low}")
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))

    def when(self, other: str, is_in: Iterable[Value]) -> Float:
        """This dimension, active only where `other` has one of the values `is_in`."""
        return replace(self, condition=When(other, tuple(is_in)))

    def problem(self, value: Value) -> str | None:
        if not _is_number(value):
            return f"must be a number from {self.low:g} to {self.high:g}, not {value!r}"
        if not self.low <= float(value) <= self.high:
            return f"must lie in {self.low:g} to {self.high:g}, not {value!r}"
        return None

    def parse(self, text: str) -> Value:
        try:
            return float(text)
        except ValueError:
            return text


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high]; searched on a logarithmic scale where `log`."""

    low: int
    high: int
    log: bool = False
    condition: When | None = None

    def __post_init__(self) -> None:
        if not (_is_integer(self.low) and _is_integer(self.high)):
            raise InputError(f"Integer bounds must be whole numbers, not {self.low!r} and {self.high!r}")
        if self.low > self.high:
            raise InputError(f"Integer bounds are the wrong way round: {self.low} > {self.high}")
        if self.log and self.low < 1:
            raise InputError(f"a logarithmic Integer needs a low bound of at least 1, not {self.low}")

    def when(self, other: str, is_in: Iterable[Value]) -> Integer:
        """This dimension, active only where `other` has one of the values `is_in`."""
        return replace(self, condition=When(other, tuple(is_in)))

    def problem(self, value: Value) -> str | None:
        if not _is_integer(value):
            return f"must be a whole number from {self.low} to {self.high}, not {value!r}"
        if not self.low <= int(value) <= self.high:
            return f"must lie in {self.low} to {self.high}, not {value!r}"
        return None

    def parse(self, text: str) -> Value:
        try:
            return int(text)
        except ValueError:
            return text


@dataclass(frozen=True)
class Choice:
    """One of a list of values without order. Those `on_request` are never proposed, but may be asked for."""

    options: tuple[Value, ...]
    on_request: tuple[Value, ...] = ()
    condition: When | None = None

    def __init__(self, *options: Value, on_request: Iterable[Value] = (), condition: When | None = None) -> None:
        object.__setattr__(self, "options", tuple(options))
        object.__setattr__(self, "on_request", tuple(on_request))
        object.__setattr__(self, "condition", condition)
        if not self.options:
            raise InputError("a Choice needs at least one option")
        for option in self.possible:
            if not isinstance(option, str | bool) and not _is_number(option):
                raise InputError(f"a Choice holds strings, booleans and finite numbers, not {option!r}")
        # Storages and samplers compare with ==, for which True is 1: such a pair could not be told apart later.
        for position, option in enumerate(self.possible):
            if option in self.possible[:position]:
                raise InputError(f"a Choice holds {option!r} twice")

    def when(self, other: str, is_in: Iterable[Value]) -> Choice:
        """This dimension, active only where `other` has one of the values `is_in`."""
        return Choice(*self.options, on_request=self.on_request, condition=When(other, tuple(is_in)))

    @property
    def possible(self) -> tuple[Value, ...]:
        """Every value that a config may have."""
        return (*self.options, *self.on_request)

    def problem(self, value: Value) -> str | None:
        if any(same_value(value, option) for option in self.possible):
            return None
        return f"must be one of {', '.join(str(option) for option in self.possible)}, not {value!r}"

    def parse(self, text: str) -> Value:
        found: Value = next((option for option in self.possible if str(option) == text), text)
        if found is not text:
            return found
        # A number in another form: 0 for 0.0, 1e-3 for 0.001.
        try:
            number = float(text)
        except ValueError:
            return text
        numbers = (option for option in self.possible if _is_number(option))
        return next((option for option in numbers if option == number), text)


Dimension = Float | Integer | Choice


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
