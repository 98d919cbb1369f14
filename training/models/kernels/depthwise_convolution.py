"""A depthwise convolution that trains in bf16 on a CPU, with gradients that oneDNN computes quickly.

With 64 images of 14 x 14 and 672 channels on two cores with AMX (torch 2.13, docs/log.md), 5 x 5 in bf16 takes 3 ms
forwards, but 160 ms for the gradient of its weights: in bf16, oneDNN is quick with kernels of 3 x 3 alone. And whatever
the kernel, the gradient of what goes in takes 80 to 200 ms with a stride of 2, and 2 to 20 ms in fp32.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import autocast_dtype, is_plain

_QUICK = 3
_MASK_INPUT, _MASK_WEIGHT = [True, False, False], [False, True, False]


def is_depthwise(convolution: nn.Conv2d) -> bool:
    """Whether it has a channel each, is square, and padded alike or as TensorFlow does."""
    k, stride = convolution.kernel_size[0], convolution.stride[0]
    return (
        convolution.groups == convolution.in_channels == convolution.out_channels > 1
        and convolution.kernel_size == (k, k)
        and convolution.stride == (stride, stride)
        and convolution.dilation == (1, 1)
        and ((is_plain(convolution) and len({*convolution.padding}) == 1) or pads_to_same(convolution))
    )


def is_slow_depthwise(convolution: nn.Conv2d) -> bool:
    """Whether it is one for `DepthwiseConv2d`: depthwise, k x k with an odd k, and not 3 x 3 with stride 1."""
    k, stride = convolution.kernel_size[0], convolution.stride[0]
    return is_depthwise(convolution) and k % 2 == 1 and k >= _QUICK and (k > _QUICK or stride > 1)


def pads_to_same(convolution: nn.Conv2d) -> bool:
    """Whether it is timm's convolution that pads as TensorFlow does: where the padding is odd, more at the end."""
    kind = type(convolution)
    return kind.__name__ == "Conv2dSame" and kind.__module__.startswith("timm.")


class DepthwiseConv2d(nn.Conv2d):
    """The depthwise convolution `convolution`; its parameters are those of it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)
        self._to_same = pads_to_same(convolution)

    def forward(self, input: Tensor) -> Tensor:
        k, stride = self.kernel_size[0], self.stride[0]
        padding = 0 if self._to_same else cast(int, self.padding[0])
        values = padded_to_same(input, k, stride) if self._to_same else input
        dtype = autocast_dtype(self, input)
        if dtype != torch.bfloat16 or input.device.type != "cpu":
            return F.conv2d(values, self.weight, self.bias, stride, padding, groups=self.groups)
        bias = None if self.bias is None else self.bias.to(dtype)
        return depthwise_convolution(values.to(dtype), self.weight.to(dtype), bias, stride, padding)


def depthwise_convolution(values: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """(N, C, H, W) in channels_last and weights (C, 1, k, k) -> (N, C, h, w); see `is_slow_depthwise`."""
    return cast(Tensor, _Depthwise.apply(values, weight, bias, stride, padding))  # type: ignore[no-untyped-call]


def reference(values: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    return F.conv2d(values, weight, bias, stride, padding, groups=len(weight))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.stride, ctx.padding = stride, padding
        return reference(values, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_values, of_weight, of_bias, *_ = ctx.needs_input_grad
        return (
            gradient_of_values(gradient, values, weight, ctx.stride, ctx.padding) if of_values else None,
            gradient_of_weight(gradient, values, weight, ctx.stride, ctx.padding) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def gradient_of_values(gradient: Tensor, values: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """(N, C, H, W), as `values` are; with a stride in fp32."""
    if stride == 1:
        return _backward(gradient, values, weight, stride, padding, _MASK_INPUT)[0]
    like = torch.empty_like(values, dtype=torch.float32)
    found = _backward(gradient.float(), like, weight.float(), stride, padding, _MASK_INPUT)[0]
    return found.to(values.dtype)


def gradient_of_weight(gradient: Tensor, values: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """(C, 1, k, k): of larger kernels put together from gradients of 3 x 3 ones on shifted images.

    The images are padded once and lie in memory one behind the other, so that a shift is another beginning: nothing is
    copied for it. What then comes from the next row or image meets zeros in the gradient.
    """
    k = weight.shape[-1]
    if k == _QUICK:
        return _backward(gradient, values, weight, stride, padding, _MASK_WEIGHT)[1]
    count, channels, height, width = values.shape
    rows, columns = height + 2 * padding, width + 2 * padding
    size, last = count * rows * columns, (k - _QUICK) * (columns + 1)
    padded = values.new_zeros(size + last, channels)
    inside = padded[:size].view(count, rows, columns, channels)
    inside[:, padding : padding + height, padding : padding + width] = values.permute(0, 2, 3, 1)

    below, right = (rows - _QUICK) // stride + 1, (columns - _QUICK) // stride + 1
    spread = F.pad(gradient, (0, right - gradient.shape[3], 0, below - gradient.shape[2]))
    spread = spread.contiguous(memory_format=torch.channels_last)
    found, part = torch.empty_like(weight), weight[..., :_QUICK, :_QUICK].contiguous()
    for row in range(0, k - 2, 2):
        for column in range(0, k - 2, 2):
            first = row * columns + column
            shifted = padded[first : first + size].view(count, rows, columns, channels).permute(0, 3, 1, 2)
            piece = _backward(spread, shifted, part, stride, 0, _MASK_WEIGHT)[1]
            found[..., row : row + _QUICK, column : column + _QUICK] = piece
    return found


def _backward(
    gradient: Tensor, values: Tensor, weight: Tensor, stride: int, padding: int, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    geometry = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight))
    found = torch.ops.aten.convolution_backward(gradient, values, weight, None, *geometry, mask)
    return cast(tuple[Tensor, Tensor, Tensor], found)


def padded_to_same(values: Tensor, k: int, stride: int) -> Tensor:
    """With as many zeros that the output has the side of `values` divided by the stride, rounded up."""
    both = [max((-(-side // stride) - 1) * stride + k - side, 0) for side in values.shape[-2:]]
    return F.pad(values, [part for more in reversed(both) for part in (more // 2, more - more // 2)])
