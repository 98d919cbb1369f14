"""The mean over the pixels of features, whose gradient lies in memory as the features do."""

from __future__ import annotations

from typing import Any, cast

import torch


def spatial_mean(features: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C).

    The gradient of torch's own mean has strides of zero; what comes next in the backward pass then takes a slow way: a
    whole training step of MobileNetV2's last stage took twice as long.
    """
    if not features.requires_grad:
        return reference(features)
    return cast(torch.Tensor, _SpatialMean.apply(features))  # type: ignore[no-untyped-call]


def reference(features: torch.Tensor) -> torch.Tensor:
    return features.mean((2, 3))


class _SpatialMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        ctx.shape, ctx.strides = features.shape, features.stride()
        return reference(features)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        found = gradient.new_empty_strided(ctx.shape, ctx.strides)
        return found.copy_((gradient / (ctx.shape[2] * ctx.shape[3]))[:, :, None, None])
