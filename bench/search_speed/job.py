"""What every method of the benchmark is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from search_spaces import Config

Train = Callable[[Sequence[Config]], Iterator[tuple[int, float | None]]]
"""Trains configs and yields, as they end, their position and accuracy; None where a config can't be trained."""


@dataclass(frozen=True)
class Job:
    """What all methods work on, in a form that goes to another process.

    `side` is that of the images in pixels, `device` is `cpu` or `cuda`.
    """

    task: str
    data: Path
    weights_dir: Path
    side: int
    epochs: int
    seed: int
    device: str
