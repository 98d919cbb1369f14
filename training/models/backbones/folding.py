"""Frozen stages for inference: batch-norm and activation folded into the convolution before them."""

from __future__ import annotations

import copy
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from .backbone import Backbone
from .chains import chains_of, clamp_of, fold


@torch.no_grad()
def folded_stages(backbone: Backbone) -> tuple[nn.Module, ...]:
    """Copies of a backbone's stages in evaluation mode, with nothing left of what a convolution can do besides.

    A stage in which nothing can be folded is the backbone's own.
    """
    stages: list[nn.Module] = []
    for stage, chains in zip(backbone.stages, chains_of(backbone), strict=True):
        if not chains:
            stages.append(stage)
            continue
        mine = copy.deepcopy(stage).eval().requires_grad_(False)
        for chain in chains:
            convolution, activation = fold(mine, chain)
            if is_plain(convolution):
                mine = replaced(mine, chain.convolution, FrozenConv2d(convolution, clamp_of(activation)))
            elif (clamp := clamp_of(activation)) is not None:
                convolution.register_forward_hook(partial(_clamped, clamp))
        stages.append(mine)
    return tuple(stages)


class FrozenConv2d(nn.Conv2d):
    """A convolution that clamps its own output, where oneDNN does both in one pass. Not to be trained.

    Weights are cast once for each precision, not at every call as autocast does it.
    """

    def __init__(self, convolution: nn.Conv2d, clamp: tuple[float, float] | None) -> None:
        super().__init__(1, 1, 1, device="meta")
        self.__dict__.update(convolution.__dict__)
        self._clamp = clamp
        self._cast: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor]] = {}

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.weight.dtype
        weight, bias = self._in(dtype)
        values = input.to(dtype)
        if not fuses(values):
            found = F.conv2d(values, weight, bias, self.stride, self.padding, self.dilation, self.groups)
            return found if self._clamp is None else found.clamp_(*self._clamp)
        return convolve(values, weight, bias, self, self._clamp)

    def _in(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        kept = self._cast.get(dtype)
        if kept is None or kept[0].device != self.weight.device:
            assert self.bias is not None
            kept = (self.weight.detach().to(dtype), self.bias.detach().to(dtype))
            self._cast[dtype] = kept
        return kept


def fuses(values: torch.Tensor) -> bool:
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


def convolve(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    like: nn.Conv2d,
    clamp: tuple[float, float] | None,
) -> torch.Tensor:
    """The convolution `like` with other weights, and its output clamped, by oneDNN; see `fuses`. Without gradients."""
    after, scalars = "none", tuple[float, ...]()
    if clamp is not None:
        after, scalars = ("relu", ()) if clamp == (0.0, float("inf")) else ("hardtanh", clamp)
    operation = torch.ops.mkldnn._convolution_pointwise
    geometry = (list(cast(tuple[int, ...], like.padding)), list(like.stride), list(like.dilation), like.groups)
    return cast(torch.Tensor, operation(values, weight, bias, *geometry, after, list(scalars), ""))


def replaced(stage: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """`stage` with `module` in the place `name`; `module` itself where the stage is that place."""
    if not name:
        return module
    parent, _, own = name.rpartition(".")
    setattr(stage.get_submodule(parent), own, module)
    return stage


def is_plain(convolution: nn.Module) -> bool:
    """Whether it is torch's own layer (timm's pad in ways of their own), padded with a number of zeros."""
    return (
        type(convolution) is nn.Conv2d
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )


def _clamped(clamp: tuple[float, float], _module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
    return output.clamp_(*clamp)
