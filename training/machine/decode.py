"""Plain data, as JSON gives it, made into typed values; what does not fit is an error that names the field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# How msgspec ends a message: "... - at `$.numerics.precision`", with [...] for some entry of a mapping.
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<place>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_MISSING = re.compile(r"Object missing required field `(?P<field>.+)`")
_SOME_ENTRY = "[...]"
_JSON_TYPES = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object"}
_SHOWN = 60


class DecodeError(ValueError):
    """What was read does not fit its type; one line that names the field and shows its value."""


class MissingField(DecodeError):
    """An object lacks a field that has no default."""


def decoded(raw: object, wanted: type[T], name: str = "") -> T:
    """`raw`, plain data as `json.loads` gives it, as a `wanted`: a dataclass, a builtin type, or a container of such.

    Nothing is guessed: "3" is no number, 1 no boolean and 1.5 no whole number; only lists become tuples, whole numbers
    floats and texts paths. Fields that `wanted` has not are left out.

    Args:
        name: of what is decoded; it begins the place that an error names.

    Raises:
        MissingField: an object lacks a field.
        DecodeError: a value is of another type, as in "epochs is 'three', not int".
    """
    # Imported here, as the throughput benchmark runs where only torch is installed.
    import msgspec

    try:
        return msgspec.convert(raw, wanted, dec_hook=_further)
    except msgspec.ValidationError as problem:
        raise _named(str(problem), raw, name) from None


def _further(wanted: type, value: Any) -> Any:
    """Of the types that JSON and msgspec have not."""
    if issubclass(wanted, Path) and isinstance(value, str):
        return wanted(value)
    raise ValueError(f"Expected `str`, got `{type(value).__name__}`")


def _named(message: str, raw: Any, name: str) -> DecodeError:
    """msgspec's message in our words, with the value that it is about."""
    match = _PLACE.fullmatch(message)
    assert match is not None
    problem, place = match["problem"], match["place"] or ""
    if missing := _MISSING.fullmatch(problem):
        return MissingField(f"{name}{place}.{missing['field']} is missing".lstrip("."))
    expected, _, found = problem.removeprefix("Expected ").replace("`", "").partition(", got ")
    value, position = raw, 0
    while position < len(place) and (step := _STEP.match(place, position)):
        value = value[step["name"] if step["name"] is not None else int(step["index"])]
        position = step.end()
    if place[position:] == _SOME_ENTRY and isinstance(value, dict):
        # msgspec does not say which entry it is: one of the type that it found.
        for key, entry in value.items():
            if _JSON_TYPES.get(type(entry)) == found:
                value, place = entry, f"{place[:position]}[{key!r}]"
                position = len(place)
                break
    shown = _short(value) if position == len(place) or not found else found
    return DecodeError(f"{f'{name}{place}'.lstrip('.') or 'it'} is {shown}, not {expected}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
