"""A frozen convolution that clamps its own output: oneDNN does both in one pass over memory."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from .convolution import Clamp, autocast_dtype


class ClampedConv2d(nn.Conv2d):
    """`convolution` with its own weights, and its output clamped. Not to be trained.

    Weights are cast once for each precision, not at every call as autocast does it.
    """

    def __init__(self, convolution: nn.Conv2d, clamp: Clamp | None) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)
        self._clamp = clamp
        self._cast: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor]] = {}

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        dtype = autocast_dtype(self, input)
        weight, bias = self._in(dtype)
        values = input.to(dtype)
        convolve = clamped_convolution if is_fused(values) else reference
        return convolve(values, weight, bias, self, self._clamp)

    def _in(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        kept = self._cast.get(dtype)
        if kept is None or kept[0].device != self.weight.device:
            assert self.bias is not None
            kept = (self.weight.detach().to(dtype), self.bias.detach().to(dtype))
            self._cast[dtype] = kept
        return kept


def is_fused(values: torch.Tensor) -> bool:
    """Whether oneDNN computes a convolution of `values` and what follows it in one pass."""
    if values.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not values.is_contiguous(memory_format=torch.channels_last):
        return False
    supported = {
        torch.float32: True,
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }
    return bool(supported.get(values.dtype, False))


def clamped_convolution(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    like: nn.Conv2d,
    clamp: Clamp | None,
) -> torch.Tensor:
    """(N, C, H, W) -> (N, K, h, w): the convolution `like` with these weights, clamped, by oneDNN; see `is_fused`.

    It has no gradient.
    """
    after, scalars = "none", tuple[float, ...]()
    if clamp is not None:
        after, scalars = ("relu", ()) if clamp == (0.0, float("inf")) else ("hardtanh", clamp)
    operation = torch.ops.mkldnn._convolution_pointwise
    geometry = (list(cast(tuple[int, ...], like.padding)), list(like.stride), list(like.dilation), like.groups)
    return cast(torch.Tensor, operation(values, weight, bias, *geometry, after, list(scalars), ""))


def reference(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    like: nn.Conv2d,
    clamp: Clamp | None,
) -> torch.Tensor:
    """The same in torch's own operators, on any device and in any layout."""
    found = F.conv2d(values, weight, bias, like.stride, like.padding, like.dilation, like.groups)
    return found if clamp is None else found.clamp_(*clamp)
