"""How large the outputs of a backbone's stages are, found from shapes and types."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..machine.precision import Numerics


def row_bytes(stages: Sequence[nn.Module], width: int, row: torch.Tensor, numerics: Numerics) -> tuple[int, ...]:
    """Bytes of one example's output at the cuts 1, 2, ... of a backbone; the last are pooled features in fp32.

    Nothing is computed, unless a stage's shapes depend on the values it gets.

    Args:
        stages: of the backbone, as they are computed.
        width: of the pooled features.
        row: (1, ...), one example as the first stage takes it, with any values, on the stages' device.
    """
    try:
        before_last = _outputs(stages[:-1], row, numerics, FakeTensorMode(allow_non_fake_inputs=True))
    except RuntimeError:
        before_last = _outputs(stages[:-1], row, numerics, nullcontext())
    return (*before_last, width * torch.float32.itemsize)


@torch.no_grad()
def _outputs(
    stages: Sequence[nn.Module], row: torch.Tensor, numerics: Numerics, mode: AbstractContextManager[object]
) -> list[int]:
    # Copies that share their tensors: whatever a module remembers of a call stays out of the real ones.
    module = nn.ModuleList(stages)
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    stages = copy.deepcopy(tuple(stages), shared)
    found = []
    with mode, numerics.autocast(row.device):
        activations = torch.zeros_like(row)
        for stage in stages:
            activations = stage(activations)
            found.append(activations.numel() * activations.element_size())
    return found
