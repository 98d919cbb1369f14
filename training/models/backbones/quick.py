"""Stages to be trained on a CPU: a convolution, its batch-norm and its activation as one step each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from .chains import Chain, clamp_of, silence
from .folding import is_plain, replaced

_NO_CLAMP = (-float("inf"), float("inf"))


def quickened(stage: nn.Module, chains: Sequence[Chain]) -> nn.Module:
    """`stage` with the same parameters under the same names, for activations (N, C, H, W) in channels_last.

    Each chain becomes one autograd step, and every other 1 x 1 convolution a product of matrices. Measured with
    MobileNetV2's last three stages at 128 pixels in bf16: see docs/log.md.
    """
    for chain in chains:
        convolution, norm = stage.get_submodule(chain.convolution), stage.get_submodule(chain.norm)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        plain = is_plain(convolution) and convolution.bias is None
        if plain and norm.affine and norm.track_running_stats and norm.momentum is not None:
            activation = silence(stage, chain)
            stage = replaced(stage, chain.convolution, NormedConv2d(convolution, norm, clamp_of(activation)))
    for name, module in list(stage.named_modules()):
        if is_plain(module) and _is_pointwise(cast(nn.Conv2d, module)):
            stage = replaced(stage, name, PointwiseConv2d(cast(nn.Conv2d, module)))
    return stage


class PointwiseConv2d(nn.Conv2d):
    """A 1 x 1 convolution of stride 1 as a product of matrices; its parameters are those of `convolution`.

    With small pictures on a CPU, training one so takes two thirds of the time.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        last = input.permute(0, 2, 3, 1)
        return F.linear(last, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class NormedConv2d(nn.Conv2d):
    """A convolution that does its batch-norm and its clamp, too.

    The batch-norm stays where it was, with its parameters and statistics, and passes on what it gets. Folding a frozen
    one into the weights at every step gains nothing: there are more of them than of activations.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, clamp: tuple[float, float] | None) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)
        self._norm = [norm]  # in a list: not a child, which would give its parameters a second name
        self._clamp = clamp or _NO_CLAMP

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        (norm,) = self._norm
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.weight.dtype
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        # Outside autocast, which has nothing left to cast and would look at every operation.
        with torch.autocast(kind, enabled=False):
            given = (input.to(dtype), self.weight, norm.weight, norm.bias, self, norm, self._clamp)
            return cast(torch.Tensor, _NormedConvolution.apply(*given))  # type: ignore[no-untyped-call]


class _NormedConvolution(torch.autograd.Function):
    """clamp(norm(conv(x, w))). Where the norm is in training mode, its running statistics move towards the batch's."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        weight: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        like: nn.Conv2d,
        norm: nn.BatchNorm2d,
        clamp: tuple[float, float],
    ) -> torch.Tensor:
        cast_weight = weight.to(values.dtype)
        raw = _convolved(values, cast_weight, like)
        running = (norm.running_mean, norm.running_var)
        found, mean, inverse = torch.native_batch_norm(
            raw, gamma, beta, *running, norm.training, norm.momentum or 0.0, norm.eps
        )
        if clamp != _NO_CLAMP:
            found.clamp_(*clamp)
        # Only a clamp needs what it gave; without one, what follows may change it in place.
        ctx.save_for_backward(values, cast_weight, raw, gamma, mean, inverse, *([found] if clamp != _NO_CLAMP else []))
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
    if not _is_pointwise(like):
        return F.conv2d(values, weight, None, like.stride, like.padding, like.dilation, like.groups)
    found = F.linear(_rows(values), weight.flatten(1))
    return found.view(values.shape[0], *values.shape[2:], -1).permute(0, 3, 1, 2)


def _gradients(
    gradient: torch.Tensor, values: torch.Tensor, weight: torch.Tensor, like: nn.Conv2d, of_values: bool
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Of the convolution's input, where it is wanted, and of its weights."""
    if _is_pointwise(like):
        rows = _rows(gradient)
        found = None
        if of_values:
            found = (rows @ weight.flatten(1)).view(values.shape[0], *values.shape[2:], -1).permute(0, 3, 1, 2)
        return found, (rows.t() @ _rows(values)).view(weight.shape)
    mask = [of_values, True, False]
    found, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, values, weight, None, like.stride, like.padding, like.dilation, False, [0, 0], like.groups, mask
    )
    return found if of_values else None, of_weight


def _rows(values: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) in channels_last -> (N * H * W, C), the same memory."""
    return values.permute(0, 2, 3, 1).reshape(-1, values.shape[1])


def _is_pointwise(convolution: nn.Conv2d) -> bool:
    return (
        convolution.kernel_size == (1, 1)
        and convolution.stride == (1, 1)
        and convolution.padding == (0, 0)
        and convolution.groups == 1
    )
