"""What is kept of the outputs of frozen stages: decided from sizes, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SHARE = 4
"""Of the store's room on disk, the outputs of one split at one cut may take this part: a quarter."""

Stored = Callable[[int], bool]
"""Whether the store already has all rows of the split, in the view that is asked for, at a cut."""


def _nothing(_cut: int) -> bool:
    return False


@dataclass(frozen=True)
class KeepPlan:
    """What is kept of the examples of one split, as training or scoring sees them, at each cut of a backbone.

    An output that is kept is computed once for all examples and read from then on; any other is computed for each batch
    that wants it. The plan computes nothing and looks nothing up: who asks tells it what the store has.

    Attributes:
        stages: of the backbone; the cuts are 0 (the input) to `stages` (pooled features).
        row_bytes: of one example's output at the cuts 1 to `stages`; empty where `possible` is false.
        examples: of the split.
        views: how many views of an example are kept: 1 where it is not augmented, 0 where every epoch sees a new one.
        first: the shallowest cut that a config of the search reads. Shallower outputs are used where the store has
            them, and not asked for.
        room: the bytes that the output at one cut may take.
        possible: whether there is a store, and the examples have keys to be found by.
        pretrained: whether the stages were trained before. What others compute is cheaper to compute than to read.
    """

    stages: int
    row_bytes: tuple[int, ...]
    examples: int
    views: int
    first: int
    room: int
    possible: bool
    pretrained: bool

    def kept(self, cut: int) -> bool:
        """Features always are, as they are small and every trial reads them; other outputs where there is room."""
        if cut == 0 or self.views == 0 or not self.possible:
            return False
        return cut == self.stages or self.bytes_at(cut) <= self.room

    def bytes_at(self, cut: int) -> int:
        """Of the output at `cut` >= 1 for all examples and views; 0 where nothing can be kept."""
        return self.row_bytes[cut - 1] * self.examples * self.views if self.row_bytes else 0

    @property
    def base(self) -> int | None:
        """The cut before the last whose output is kept first, as all deeper ones are computed from it."""
        return next((cut for cut in range(self.first, self.stages) if self.kept(cut)), None)

    def source(self, cut: int, stored: Stored = _nothing) -> int:
        """The shallower cut from which the output at `cut` >= 1 is computed; 0 is the input.

        For an output that is kept this is the deepest one that is the base or that the store has already; for a batch
        it is the deepest one that is kept.
        """
        base = self.base
        if self.kept(cut):
            return next((below for below in range(cut - 1, 0, -1) if below == base or stored(below)), 0)
        return next((below for below in range(cut - 1, 0, -1) if self.kept(below)), 0)

    def on_disk(self, cut: int, source: int) -> bool:
        """Whether the output at `cut`, computed from `source`, is also written to disk, or kept in memory only.

        What follows from another output is computed again sooner than it is written, unless it is the base.
        """
        return self.kept(cut) and self.pretrained and (source == 0 or cut == self.base)
