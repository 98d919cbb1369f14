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


def rows_at_once(numbers: int, device: torch.device) -> int:
    """Of examples with so many `numbers` each where they come in."""
    rows = _ROWS[device.type]
    return min(rows, max(_NUMBERS // max(numbers, 1), 1)) if device.type == "cpu" else rows


@torch.no_grad()
def row_bytes(stages: Sequence[nn.Module], width: int, row: torch.Tensor, numerics: Numerics) -> tuple[int, ...]:
    """Bytes of one example's output at the cuts 1, 2, ... of a backbone; the last are pooled features in fp32.

    One row goes through all stages but the last. The meta device would compute nothing, but knows no autocast, and
    torch's fake tensors, which do, take longer to import than the row takes (docs/decisions/0017).

    Args:
        stages: of the backbone, as they are computed.
        width: of the pooled features.
        row: (1, ...), one example as the first stage takes it, with any values, on the stages' device.
    """
    found = []
    with numerics.autocast(row.device):
        for stage in stages[:-1]:
            row = stage(row)
            found.append(row.nbytes)
    return (*found, width * torch.float32.itemsize)
