"""A frozen depthwise convolution on a GPU that does not wait for cuDNN to compile a kernel which is hardly used.

In channels_last cuDNN compiles a kernel for every shape that goes into a depthwise convolution. On an H200 (torch 2.11,
cuDNN 9.19, docs/log.md) that takes 90 ms a layer: 1.5 s before a MobileNetV2 has computed its first batch, and the same
again for batches of another size. torch's own kernels are there at once, but want the channels first, and take five
times as long. So they do the work until they have lost as much time with a shape as its compilation takes: nobody waits
for more than twice what was necessary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import autocast_dtype
from .depthwise_convolution import padded_to_same, pads_to_same, reference

WORTH = 6e9
"""Numbers that go into a convolution, in one shape, until its compilation is paid for: torch's own kernels lose 14 ps
with each."""


class UncompiledDepthwise(nn.Conv2d):
    """The convolution `convolution`, for which `is_depthwise` holds; its parameters and hooks are those of it. Not to
    be trained."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)
        self._to_same = pads_to_same(convolution)
        self._seen: dict[torch.Size, int] = {}

    def forward(self, input: Tensor) -> Tensor:
        k, stride = self.kernel_size[0], self.stride[0]
        padding = 0 if self._to_same else cast(int, self.padding[0])
        dtype = autocast_dtype(self, input)
        values = (padded_to_same(input, k, stride) if self._to_same else input).to(dtype)
        weight, bias = self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype)
        if self._has_paid(values):
            return reference(values, weight, bias, stride, padding)
        return uncompiled_depthwise(values, weight, bias, stride, padding)

    def _has_paid(self, values: Tensor) -> bool:
        seen = self._seen.get(values.shape, 0)
        if seen < WORTH:
            self._seen[values.shape] = seen + values.numel()
        return seen >= WORTH


def uncompiled_depthwise(values: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """(N, C, H, W) and weights (C, 1, k, k) -> (N, C, h, w) in channels_last, by torch's own kernels; its `reference`
    is that of `depthwise_convolution`."""
    with _without_cudnn():
        found = F.conv2d(values.contiguous(), weight, bias, stride, padding, groups=len(weight))
    return found.contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before
