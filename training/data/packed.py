"""Examples at several resolutions at once, for a model that looks at each in more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from .splits import Split


@dataclass(frozen=True, eq=False)
class Packed(Split):
    """One split at several resolutions; what it says of its examples is that of the largest.

    `take` gives an example's pictures (R, R, C) flattened and joined, the smallest first: (n, sum of R * R * C).
    """

    parts: Mapping[int, Split] = field(default_factory=dict)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        taken = [self.parts[resolution].take(index)[0] for resolution in sorted(self.parts)]
        return pack_pictures(taken), self.labels[index]

    def subset(self, chosen: Tensor) -> Split:
        return pack({resolution: part.subset(chosen) for resolution, part in self.parts.items()})


def pack(parts: Mapping[int, Split]) -> Split:
    """One split, by its resolutions, as one: itself where its examples are stored in one form for all of them."""
    largest = parts[max(parts)]
    if all(part.inputs.shape[1:] == largest.inputs.shape[1:] for part in parts.values()):
        return largest
    return Packed(**{one.name: getattr(largest, one.name) for one in fields(Split)}, parts=dict(parts))


def at_resolution(split: Split, resolution: int) -> Split:
    """What `pack` made one of, at one of its resolutions."""
    return split.parts[resolution] if isinstance(split, Packed) else split


def shown(split: Split) -> Split:
    """A split as it can be shown to people."""
    return split.parts[max(split.parts)] if isinstance(split, Packed) else split


def pack_pictures(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (n, R, R, C) of one example at several resolutions -> (n, sum of R * R * C)."""
    return torch.cat([one.flatten(1) for one in pictures], 1)


def unpack_pictures(packed: Tensor, resolutions: Sequence[int]) -> dict[int, Tensor]:
    """What `pack_pictures` made one of, pictures (n, R, R, 3) by their resolutions, which ascend."""
    sizes = [3 * resolution**2 for resolution in resolutions]
    parts = packed.split_with_sizes(sizes, 1)
    return {r: part.reshape(-1, r, r, 3) for r, part in zip(resolutions, parts, strict=True)}
