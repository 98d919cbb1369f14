"""What the operators for convolutions have in common."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import nn

Clamp = tuple[float, float]
"""The lowest and the highest value that an activation lets pass."""


def is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is torch's own convolution (timm's pad in ways of their own), padded with a number of zeros."""
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether it is 1 x 1 with stride 1, without padding and groups: a product of matrices."""
    return (
        convolution.kernel_size == (1, 1)
        and convolution.stride == (1, 1)
        and convolution.padding == (0, 0)
        and convolution.groups == 1
    )


def autocast_dtype(module: nn.Conv2d, values: torch.Tensor) -> torch.dtype:
    """What `module` computes in: autocast's type where that is on, else that of its weights."""
    kind = values.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else module.weight.dtype
