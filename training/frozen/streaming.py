"""Rows that have no room on the device, brought there for many batches at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

BLOCK_BYTES = 64 * 2**20
"""Of one copy: large enough for the bus to reach its speed, small beside what a device has."""


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows on the device for the batches `first` to `last` - 1; `starts` says where each begins."""

    first: int
    last: int
    starts: tuple[int, ...]
    rows: torch.Tensor

    def of(self, batch: int) -> torch.Tensor:
        place = batch - self.first
        return self.rows[self.starts[place] : self.starts[place + 1]]


class Stream:
    """The rows of each batch of a pass, whose `order` is known before it begins.

    Rows are gathered into page-locked memory and copied from there while the device works: while one block is used,
    the next one is under way. A batch is asked for once or several times, and batches in their order.
    """

    def __init__(self, order: Sequence[torch.Tensor], device: torch.device, block_bytes: int = BLOCK_BYTES) -> None:
        self._order = order
        self._device = device
        self._block_bytes = block_bytes
        # By the source's address: the block in use, and the one after it.
        self._blocks: dict[int, tuple[_Block, _Block | None]] = {}

    def rows(self, source: torch.Tensor, batch: int, places: torch.Tensor | None = None) -> torch.Tensor:
        """Rows of `source` (n, ...) for a batch, on the device; the order counts `places` (m,) where it is given."""
        key = source.data_ptr()
        block, following = self._blocks.get(key, (None, None))
        if block is None or not block.first <= batch < block.last:
            if following is not None and following.first <= batch < following.last:
                block = following
            else:
                block = self._fetched(source, batch, places)
            following = self._fetched(source, block.last, places) if block.last < len(self._order) else None
            self._blocks[key] = (block, following)
        return block.of(batch)

    def _fetched(self, source: torch.Tensor, first: int, places: torch.Tensor | None) -> _Block:
        row_bytes = max(source[0].numel() * source.element_size(), 1)
        last, starts = first, [0]
        while last < len(self._order) and (last == first or starts[-1] * row_bytes < self._block_bytes):
            starts.append(starts[-1] + len(self._order[last]))
            last += 1
        index = torch.cat(list(self._order[first:last]))
        index = index if places is None else places[index]
        locked = self._device.type == "cuda"
        rows = torch.empty(len(index), *source.shape[1:], dtype=source.dtype, pin_memory=locked)
        torch.index_select(source, 0, index, out=rows)
        return _Block(first, last, tuple(starts), rows.to(self._device, non_blocking=True))
