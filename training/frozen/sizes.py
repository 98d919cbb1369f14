"""How large the outputs of a backbone's stages are, and how many examples go through these at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..machine.precision import Numerics

# Examples that go through frozen stages at once, and on a CPU the numbers that come in with them: with more, what lies
# between two stages falls out of a core's caches (results/throughput/pieces.md).
_ROWS = {"cpu": 32, "cuda": 256}
_NUMBERS = 3 * 2**18


def rows_to_try(numbers: int, device: torch.device) -> int:
    """How many examples tell how large outputs are: one, and on a GPU, which needs time to get ready for every other
    size of batches, as many as there will be."""
    return 1 if device.type == "cpu" else rows_at_once(numbers, device)


def rows_at_once(numbers: int, device: torch.device) -> int:
    """Of examples with so many `numbers` each where they come in."""
    rows = _ROWS[device.type]
    return min(rows, max(_NUMBERS // max(numbers, 1), 1)) if device.type == "cpu" else rows


def filled_up(rows: torch.Tensor, count: int) -> torch.Tensor:
    """On a GPU `count` rows, whose last are the last one's copies: what was made ready for one size of batches then
    does for all. On a CPU the rows."""
    missing = count - len(rows)
    if rows.device.type == "cpu" or missing <= 0:
        return rows
    more = torch.cat((rows, rows[-1:].expand(missing, *rows.shape[1:])))
    last = rows.ndim == 4 and rows.is_contiguous(memory_format=torch.channels_last)
    return more.contiguous(memory_format=torch.channels_last) if last else more


@torch.no_grad()
def row_bytes(stages: Sequence[nn.Module], width: int, rows: torch.Tensor, numerics: Numerics) -> tuple[int, ...]:
    """Bytes of one example's output at the cuts 1, 2, ... of a backbone; the last are pooled features in fp32.

    The rows go through all stages but the last. The meta device would compute nothing, but knows no autocast, and
    torch's fake tensors, which do, take longer to import than the row takes (docs/decisions/0017).

    Args:
        stages: of the backbone, as they are computed.
        width: of the pooled features.
        rows: (n, ...), examples as the first stage takes them, with any values, on the stages' device.
    """
    found = []
    with numerics.autocast(rows.device):
        for stage in stages[:-1]:
            rows = stage(rows)
            found.append(rows.nbytes // len(rows))
    return (*found, width * torch.float32.itemsize)
