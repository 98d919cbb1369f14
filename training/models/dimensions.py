"""Fields that are read from a config: each knows the dimension of the search space that its value comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, overload

from search_spaces import Config, InputError, Value

T = TypeVar("T")
_DIMENSION = "dimension"
_EXPECTED: dict[Callable[[Any], Any], str] = {int: "a whole number", float: "a number"}


@overload
def dimension(name: str, convert: Callable[[Value], T]) -> T: ...
@overload
def dimension(name: str, convert: Callable[[Value], T], default: T) -> T: ...
def dimension(name: str, convert: Callable[[Value], T], default: Any = dataclasses.MISSING) -> Any:
    """A field of a dataclass: the value of dimension `name` through `convert`, or `default` where a config lacks it."""
    return dataclasses.field(default=default, metadata={_DIMENSION: (name, convert)})


def dimensions_of(part: Any) -> dict[str, str]:
    """Of a dataclass or one of its instances: dimensions by the names of the fields that they are read into."""
    searched = (field for field in dataclasses.fields(part) if _DIMENSION in field.metadata)
    return {field.name: field.metadata[_DIMENSION][0] for field in searched}


def values_for(part: Any, config: Config) -> dict[str, Any]:
    """What `config` says about the fields of a dataclass or of one of its instances, by the names of the fields.

    Raises:
        InputError: a value can't be converted into what the field holds.
    """
    values = {}
    for field in dataclasses.fields(part):
        name, convert = field.metadata.get(_DIMENSION, (None, None))
        if name in config:
            try:
                values[field.name] = convert(config[name])
            except ValueError:
                expected = _EXPECTED.get(convert, "something else")
                raise InputError(f"{name} is {expected}, not {config[name]!r}") from None
    return values


def updated(part: T, config: Config) -> T:
    """`part`, an instance of a dataclass, with what `config` says about its fields.

    Raises:
        InputError: as from `values_for`.
    """
    return dataclasses.replace(part, **values_for(part, config))  # type: ignore[type-var]


def from_config(part: type[T], config: Config) -> T:
    """An instance of a dataclass whose fields all come from dimensions.

    Raises:
        InputError: as from `values_for`, or `config` lacks a dimension that has no default.
    """
    values = values_for(part, config)
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        if field.name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"{dimensions_of(part)[field.name]} is missing: nothing can be trained without it")
    return part(**values)
