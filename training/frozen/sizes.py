"""How large the outputs of a backbone's stages are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..machine.precision import Numerics


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
