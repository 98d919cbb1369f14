"""Calls from Python as text: a study keeps what made it, so that its table can be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from search_spaces import Part, Task


def call_text(function: str, *arguments: object, **named: object) -> str:
    """`pomona.FUNCTION(...)` as it would be typed; arguments by name that are None were not given."""
    parts = [_literal(argument) for argument in arguments]
    parts += [f"{name}={_literal(_shown(name, value))}" for name, value in named.items() if value is not None]
    return f"pomona.{function}({', '.join(parts)})"


def _shown(name: str, value: object) -> object:
    """A value as it may be kept: a database's URL without its password."""
    from studies.location import without_password

    return without_password(value) if name == "storage" and isinstance(value, str) else value


def _literal(value: object) -> str:
    if isinstance(value, Task):
        # As a variable would be called that holds it.
        return value.name.replace("-", "_")
    if isinstance(value, Part):
        return _literal(list(value.options)) if value.range is None else "({}, {})".format(*map(_literal, value.range))
    if isinstance(value, PurePath):
        return repr(str(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(part)}" for key, part in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_literal, value)) + "]"
    # NumPy's numbers print with their type.
    return repr(value.item() if hasattr(value, "item") else value)
