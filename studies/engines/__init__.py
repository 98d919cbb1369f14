"""What runs trials. One file an engine and one entry here."""

from collections.abc import Callable

import torch

from search_spaces import InputError

from ..placement import Placement
from .engine import AbstractEngine as AbstractEngine
from .inline import InlineEngine as InlineEngine
from .kept import KeptEngine as KeptEngine
from .kept import kept as kept
from .local import LocalEngine as LocalEngine
from .ray import RayEngine as RayEngine

ONE = Placement()

ENGINES: dict[str, Callable[[Placement], AbstractEngine]] = {
    "inline": lambda _placement: InlineEngine(),
    "local": LocalEngine,
    "ray": RayEngine,
}


def engine_named(name: str, placement: Placement = ONE) -> AbstractEngine:
    """An engine with its workers.

    Raises:
        InputError: there is no such engine, or it can't have such workers.
    """
    if name not in ENGINES:
        raise InputError(f"unknown engine {name!r}; there is {', '.join(ENGINES)}")
    if placement.workers < 1:
        raise InputError(f"--workers must be at least 1, not {placement.workers}")
    if name == "inline" and placement.workers > 1:
        raise InputError("the inline engine has one worker: leave --engine out, or --workers")
    if placement.ray_address is not None and name != "ray":
        raise InputError("--ray-address is for --engine ray")
    return ENGINES[name](placement)


def engine_for(workers: int) -> str:
    """The engine that is taken where none is named."""
    return "inline" if workers == 1 else "local"


def default_workers(device: torch.device, trials_per_gpu: int = 1) -> int:
    """So many a GPU. On a CPU one: docs/decisions/0019 says why, and what several bring."""
    if device.type != "cuda":
        return 1
    return trials_per_gpu * (1 if device.index is not None else max(torch.cuda.device_count(), 1))
