"""What runs trials. One file an engine and one entry here."""

from search_spaces import InputError

from .engine import AbstractEngine as AbstractEngine
from .inline import InlineEngine as InlineEngine

ENGINES: dict[str, type[AbstractEngine]] = {"inline": InlineEngine}


def engine_named(name: str) -> AbstractEngine:
    """Raises InputError where there is no such engine."""
    if name not in ENGINES:
        raise InputError(f"unknown engine {name!r}; there is {', '.join(ENGINES)}")
    return ENGINES[name]()
