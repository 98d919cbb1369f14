"""Where trials run: plain data, which a study keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """How many workers there are, and where.

    `trials_per_gpu` workers share each GPU, its memory in equal parts. `ray_address` is that of a Ray cluster; without
    it one is started on this machine.
    """

    workers: int = 1
    trials_per_gpu: int = 1
    ray_address: str | None = None
