"""Convolutions and images on which operators are compared with their references."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Channels in and out, kernel, stride, padding, groups: a plain one, depthwise ones, pointwise ones.
GEOMETRIES = {
    "3 x 3": (8, 12, 3, 1, 1, 1),
    "3 x 3, stride 2": (8, 12, 3, 2, 1, 1),
    "depthwise": (8, 8, 3, 1, 1, 8),
    "depthwise, stride 2": (8, 8, 5, 2, 2, 8),
    "pointwise": (8, 12, 1, 1, 0, 1),
    "pointwise, stride 2": (8, 12, 1, 2, 0, 1),
}
CLAMPS = {"no clamp": (-float("inf"), float("inf")), "ReLU": (0.0, float("inf")), "ReLU6": (0.0, 6.0)}
# A bf16 number has 8 bits.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def convolution(geometry: str, *, bias: bool = False) -> nn.Conv2d:
    inputs, outputs, kernel, stride, padding, groups = GEOMETRIES[geometry]
    torch.manual_seed(0)
    made = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def images(channels: int = 8, count: int = 3, side: int = 9) -> Tensor:
    """(N, C, H, W) in channels_last."""
    drawn = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(2))
    return drawn.contiguous(memory_format=torch.channels_last)


def close(mine: Tensor | None, expected: Tensor | None) -> None:
    """Equal within the precision of the type that the values are in."""
    assert mine is not None
    assert expected is not None
    assert mine.shape == expected.shape
    tolerance = TOLERANCES[expected.dtype]
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(mine.to(expected.dtype), expected, rtol=tolerance, atol=tolerance * size)
