"""How large the outputs of a backbone's stages are, found from shapes and types."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..machine.precision import Numerics
from ..models.backbones import Backbone


def row_bytes(backbone: Backbone, row: torch.Tensor, numerics: Numerics) -> tuple[int, ...]:
    """Bytes of one example's output at the cuts 1, 2, ... of `backbone`; the last are its pooled features in fp32.

    Nothing is computed, unless a stage's shapes depend on the values it gets.

    Args:
        row: (1, ...), one example as the first stage takes it, with any values, on the backbone's device.
    """
    try:
        before_last = _outputs(backbone.stages[:-1], row, numerics, FakeTensorMode(allow_non_fake_inputs=True))
    except RuntimeError:
        before_last = _outputs(backbone.stages[:-1], row, numerics, nullcontext())
    return (*before_last, backbone.widths[-1] * torch.float32.itemsize)


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
