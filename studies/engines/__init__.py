"""What runs trials. One file an engine and one entry here."""

from collections.abc import Callable

import torch

from search_spaces import InputError

from .engine import AbstractEngine as AbstractEngine
from .inline import InlineEngine as InlineEngine
from .local import LocalEngine as LocalEngine

ENGINES: dict[str, Callable[[int], AbstractEngine]] = {"inline": lambda _workers: InlineEngine(), "local": LocalEngine}


def engine_named(name: str, workers: int = 1) -> AbstractEngine:
    """An engine with so many workers.

    Raises:
        InputError: there is no such engine, or it can't have so many.
    """
    if name not in ENGINES:
        raise InputError(f"unknown engine {name!r}; there is {', '.join(ENGINES)}")
    if workers < 1:
        raise InputError(f"--workers must be at least 1, not {workers}")
    if name == "inline" and workers > 1:
        raise InputError("the inline engine has one worker: leave --engine out, or --workers")
    return ENGINES[name](workers)


def engine_for(workers: int) -> str:
    """The engine that is taken where none is named."""
    return "inline" if workers == 1 else "local"


def default_workers(device: torch.device) -> int:
    """One a GPU. On a CPU one: docs/decisions/0019 says why, and what several bring."""
    return max(torch.cuda.device_count(), 1) if device.type == "cuda" else 1
