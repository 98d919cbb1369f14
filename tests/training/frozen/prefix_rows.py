"""Rows for a prefix store as frozen stages would compute them, and how often they were computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.frozen.store import BlockKey, PrefixStore

BLOCK = BlockKey("squeezenet1_1", "0123abcd", 96, 1, "", 0, 7, "bf16, channels_last, cpu", "2.13.0", 1)
LARGE = 2**30


def row_of(block: BlockKey, image: str, dtype: torch.dtype = torch.bfloat16, shape: Sequence[int] = (3, 2)) -> Tensor:
    """Any bits but those of NaN, decided by the key and the image."""
    generator = torch.Generator().manual_seed(int(block.digest, 16) % 2**31 + sum(image.encode()))
    values = torch.randn(tuple(shape), generator=generator) * 50
    return values.abs().to(dtype) if dtype == torch.uint8 else values.to(dtype)


@dataclass
class Model:
    """Computes rows as frozen stages would, and counts."""

    dtype: torch.dtype = torch.bfloat16
    shape: Sequence[int] = (3, 2)
    computed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def ask(self, kept: PrefixStore, block: BlockKey, images: Sequence[str]) -> Tensor:
        return kept.rows(block, images, self.compute(block, images))

    def compute(self, block: BlockKey, images: Sequence[str]) -> Callable[[Sequence[int]], Tensor]:
        def compute(positions: Sequence[int]) -> Tensor:
            self.computed.update((block.digest, images[position]) for position in positions)
            return self.rows(block, [images[position] for position in positions])

        return compute

    def rows(self, block: BlockKey, images: Sequence[str]) -> Tensor:
        return torch.stack([row_of(block, image, self.dtype, self.shape) for image in images])


def names(count: int, first: str = "a") -> tuple[str, ...]:
    return tuple(f"{first}{number:03}" for number in range(count))


def nothing_to_compute(positions: Sequence[int]) -> Tensor:
    raise AssertionError(f"computed again: {positions}")
