"""A convolution that trains with its batch-norm and its clamp: one step of autograd for the three."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from .convolution import NO_CLAMP, Clamp, autocast_dtype, is_pointwise, rows_of


class NormedConv2d(nn.Conv2d):
    """A convolution that does its batch-norm and its clamp, too; for activations in channels_last.

    The batch-norm stays where it was, with its parameters and statistics, and passes on what it gets. Folding a frozen
    one into the weights at every step gains nothing: there are more of them than of activations.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, clamp: Clamp | None) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)
        self._norm = [norm]  # in a list: not a child, which would give its parameters a second name
        self._clamp = clamp or NO_CLAMP

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        (norm,) = self._norm
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        values = input.to(autocast_dtype(self, input))
        # Outside autocast, which has nothing left to cast and would look at every operation.
        with torch.autocast(input.device.type, enabled=False):
            return normed_convolution(values, self.weight, norm.weight, norm.bias, self, norm, self._clamp)


def normed_convolution(
    values: torch.Tensor,
    weight: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    like: nn.Conv2d,
    norm: nn.BatchNorm2d,
    clamp: Clamp,
) -> torch.Tensor:
    """clamp(norm(conv(values))) for (N, C, H, W) in channels_last, with the geometry of `like` and no bias.

    Where `norm` is in training mode, its running statistics move towards the batch's.
    """
    given = (values, weight, gamma, beta, like, norm, clamp)
    return cast(torch.Tensor, _NormedConvolution.apply(*given))  # type: ignore[no-untyped-call]


def reference(
    values: torch.Tensor,
    weight: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    like: nn.Conv2d,
    norm: nn.BatchNorm2d,
    clamp: Clamp,
) -> torch.Tensor:
    """The same in torch's own operators."""
    raw = F.conv2d(values, weight.to(values.dtype), None, like.stride, like.padding, like.dilation, like.groups)
    running = (norm.running_mean, norm.running_var)
    found = F.batch_norm(raw, *running, gamma, beta, norm.training, norm.momentum or 0.0, norm.eps)
    return F.hardtanh(found, *clamp)


class _NormedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        weight: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        like: nn.Conv2d,
        norm: nn.BatchNorm2d,
        clamp: Clamp,
    ) -> torch.Tensor:
        cast_weight = weight.to(values.dtype)
        raw = _convolved(values, cast_weight, like)
        running = (norm.running_mean, norm.running_var)
        found, mean, inverse = torch.native_batch_norm(
            raw, gamma, beta, *running, norm.training, norm.momentum or 0.0, norm.eps
        )
        if clamp != NO_CLAMP:
            found.clamp_(*clamp)
        # Only a clamp needs what it gave; without one, what follows may change it in place.
        ctx.save_for_backward(values, cast_weight, raw, gamma, mean, inverse, *([found] if clamp != NO_CLAMP else []))
        ctx.like, ctx.clamp, ctx.norm = like, clamp, (*running, norm.training, norm.eps)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, weight, raw, gamma, mean, inverse, *clamped = ctx.saved_tensors
        # In the layout of what the convolution gave: in others, what follows takes several times as long.
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if clamped:
            gradient = torch.ops.aten.hardtanh_backward(gradient, *clamped, *ctx.clamp)
        running_mean, running_var, training, eps = ctx.norm
        gradient, of_gamma, of_beta = torch.ops.aten.native_batch_norm_backward(
            gradient, raw, gamma, running_mean, running_var, mean, inverse, training, eps, [True, True, True]
        )
        of_values, of_weight = _gradients(gradient, values, weight, ctx.like, ctx.needs_input_grad[0])
        return of_values, of_weight.to(gamma.dtype), of_gamma, of_beta, None, None, None


def _convolved(values: torch.Tensor, weight: torch.Tensor, like: nn.Conv2d) -> torch.Tensor:
    if not is_pointwise(like):
        return F.conv2d(values, weight, None, like.stride, like.padding, like.dilation, like.groups)
    found = F.linear(rows_of(values), weight.flatten(1))
    return found.view(values.shape[0], *values.shape[2:], -1).permute(0, 3, 1, 2)


def _gradients(
    gradient: torch.Tensor, values: torch.Tensor, weight: torch.Tensor, like: nn.Conv2d, of_values: bool
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Of the convolution's input, where it is wanted, and of its weights."""
    if is_pointwise(like):
        rows = rows_of(gradient)
        found = None
        if of_values:
            found = (rows @ weight.flatten(1)).view(values.shape[0], *values.shape[2:], -1).permute(0, 3, 1, 2)
        return found, (rows.t() @ rows_of(values)).view(weight.shape)
    mask = [of_values, True, False]
    found, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, values, weight, None, like.stride, like.padding, like.dilation, False, [0, 0], like.groups, mask
    )
    return found if of_values else None, of_weight
