"""A backbone as it is computed: the only place that chooses fused operators, memory layout and device."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import nn

from ..machine.precision import Numerics
from .backbones.backbone import Backbone
from .backbones.chains import Chain, clamp_of, fold
from .kernels import uncompiled_depthwise
from .kernels.clamped_convolution import ClampedConv2d
from .kernels.convolution import Clamp, is_plain, is_pointwise
from .kernels.depthwise_convolution import DepthwiseConv2d, is_depthwise, is_slow_depthwise
from .kernels.pointwise_convolution import PointwiseConv2d
from .kernels.uncompiled_depthwise import UncompiledDepthwise


@dataclass(frozen=True, eq=False)
class Lowered:
    """A backbone cut in two and made fast; the backbone itself stays as it is. Each half is made when it is asked for.

    Both halves take and give what the backbone's own stages do, to rounding.
    """

    backbone: Backbone
    cut: int
    numerics: Numerics
    device: torch.device

    @cached_property
    def frozen(self) -> nn.ModuleList:
        """The first `cut` stages in evaluation mode, without gradients: batch-norms and activations are folded into
        the convolutions before them."""
        stages = zip(self.backbone.stages[: self.cut], self.backbone.chains, strict=False)
        return self._placed(_folded(copy.deepcopy(stage), chains, self._uncompiled) for stage, chains in stages)

    @cached_property
    def trained(self) -> nn.ModuleList:
        """The other stages, to be trained: with the parameters and buffers of the backbone's, under the same names."""
        placed = self._placed(copy.deepcopy(stage) for stage in self.backbone.stages[self.cut :])
        # Measured on a CPU in channels_last; elsewhere torch's own operators are what they would fall back to.
        if self.numerics.channels_last and self.device.type == "cpu":
            return nn.ModuleList(_fused(stage) for stage in placed)
        return placed

    @property
    def _uncompiled(self) -> bool:
        """Whether cuDNN would compile depthwise convolutions."""
        return self.numerics.channels_last and self.device.type == "cuda"

    def _placed(self, stages: Iterable[nn.Module]) -> nn.ModuleList:
        return self.numerics.place(nn.ModuleList(stages), self.device)


def lower(backbone: Backbone, cut: int, numerics: Numerics, device: torch.device) -> Lowered:
    """The first `cut` stages of `backbone` to be computed, the others to be trained, in `numerics` on `device`."""
    backbone.check_cut(cut)
    return Lowered(backbone, cut, numerics, device)


@contextlib.contextmanager
def in_the_long_run() -> Iterator[None]:
    """Within it nothing saves the time that compiling takes: for benchmarks of what goes on for longer."""
    before, uncompiled_depthwise.WORTH = uncompiled_depthwise.WORTH, 0.0
    try:
        yield
    finally:
        uncompiled_depthwise.WORTH = before


@torch.no_grad()
def _folded(stage: nn.Module, chains: Sequence[Chain], uncompiled: bool) -> nn.Module:
    """`stage` with nothing left of what a convolution can do besides; `uncompiled` as in `Lowered`."""
    stage = stage.eval().requires_grad_(False)
    for chain in chains:
        convolution, activation = fold(stage, chain)
        clamp = clamp_of(activation)
        if uncompiled and is_depthwise(convolution):
            if clamp is not None:
                convolution.register_forward_hook(partial(_clamped, clamp))
            stage = _replaced(stage, chain.convolution, UncompiledDepthwise(convolution))
        elif is_plain(convolution):
            stage = _replaced(stage, chain.convolution, ClampedConv2d(convolution, clamp))
        elif clamp is not None:
            convolution.register_forward_hook(partial(_clamped, clamp))
    return stage


def _fused(stage: nn.Module) -> nn.Module:
    """`stage` for activations (N, C, H, W) in channels_last: each 1 x 1 convolution a product of matrices, and
    depthwise ones with gradients that are quick."""
    for name, module in list(stage.named_modules()):
        if is_plain(module) and is_pointwise(module):
            stage = _replaced(stage, name, PointwiseConv2d(module))
        elif isinstance(module, nn.Conv2d) and is_slow_depthwise(module):
            stage = _replaced(stage, name, DepthwiseConv2d(module))
    return stage


def _replaced(stage: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """`stage` with `module` in the place `name`; `module` itself where the stage is that place."""
    if not name:
        return module
    parent, _, own = name.rpartition(".")
    setattr(stage.get_submodule(parent), own, module)
    return stage


def _clamped(clamp: Clamp, _module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
    return output.clamp_(*clamp)
