"""Frozen batch-norm folded into the convolution before it: the same function in two thirds of the time."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .backbone import Backbone

# Folding multiplies weights that were multiplied later before: fp32 rounding, and nothing more.
_TOLERANCE = 1e-4


@torch.no_grad()
def folded_stages(backbone: Backbone, resolution: int = 64) -> tuple[nn.Module, ...]:
    """Copies of a backbone's stages in evaluation mode, without the batch-norms that a convolution can take over.

    Which convolution feeds which batch-norm is seen by sending a picture through, not read from the modules' names; a
    stage whose output then differs by more than rounding is left as it is, as is one that the picture is too small for.
    """
    activations = torch.rand(2, 3, resolution, resolution, generator=torch.Generator().manual_seed(0)) * 4 - 2
    stages: list[nn.Module] = []
    for stage in backbone.stages:
        mine = copy.deepcopy(stage).eval().requires_grad_(False)
        try:
            before = mine(activations)
            _fold(mine, activations)
            after = mine(activations)
            same = torch.allclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE * float(before.abs().max()))
        except RuntimeError:
            return (*stages, *backbone.stages[len(stages) :])
        stages.append(mine if same else stage)
        activations = before
    return tuple(stages)


def _fold(stage: nn.Module, activations: torch.Tensor) -> None:
    made_by: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    kept: list[Any] = []  # an output that is freed could lend its id to another one

    def after_convolution(module: nn.Module, _inputs: Any, output: Any) -> None:
        assert isinstance(module, nn.Conv2d)
        made_by[id(output)] = module
        kept.append(output)

    def before_norm(module: nn.Module, inputs: Any) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if (convolution := made_by.pop(id(inputs[0]), None)) is not None:
            pairs.append((convolution, module))

    hooks = []
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            hooks.append(module.register_forward_pre_hook(before_norm))
    stage(activations)
    for hook in hooks:
        hook.remove()
    once = {id(convolution) for convolution, _ in pairs}
    if len(once) == len(pairs):
        for convolution, norm in pairs:
            _take_over(convolution, norm)


def _take_over(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    bias = shift if convolution.bias is None else convolution.bias * scale + shift
    convolution.weight = nn.Parameter(convolution.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
    convolution.bias = nn.Parameter(bias, requires_grad=False)
    # What the norm does besides (timm's holds the activation, too) stays; normalising becomes the identity.
    if type(norm) is nn.BatchNorm2d:
        norm.forward = _identity  # type: ignore[assignment, method-assign]
    else:
        rest = [module for name, module in norm.named_children() if name in ("drop", "act")]
        norm.forward = nn.Sequential(*rest).forward  # type: ignore[method-assign]


def _identity(values: torch.Tensor) -> torch.Tensor:
    return values
