"""Which convolution feeds which batch-norm, and which activation follows: what can be computed as one."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..kernels.convolution import Clamp

# Folding multiplies weights that were multiplied later before: fp32 rounding, and nothing more.
_TOLERANCE = 1e-4
_SIDE = 64


@dataclass(frozen=True)
class Chain:
    """A convolution, the batch-norm that alone sees its output, and the activation that alone sees the batch-norm's.

    Modules are named as their stage names them. `activation` is None where nothing that can be taken over follows;
    timm's batch-norms hold theirs.
    """

    convolution: str
    norm: str
    activation: str | None


def find_chains(stages: Sequence[nn.Module], channels: int) -> tuple[tuple[Chain, ...], ...]:
    """The chains of each of `stages`, whose first takes images of so many channels.

    They are seen by sending an image through, not read from the modules' names. A stage that computes something else
    once its chains are folded keeps apart what does not belong together: it loses its activations first, then its
    chains. So does a stage that the image is too small for.
    """
    parameter = next(nn.ModuleList(stages).parameters(), None)
    if parameter is None:
        return ((),) * len(stages)
    picture = torch.rand(2, channels, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)) * 4 - 2
    activations = picture.to(parameter.device)
    found: list[tuple[Chain, ...]] = []
    with torch.no_grad():
        for stage in stages:
            mine = copy.deepcopy(stage).eval()
            try:
                before = mine(activations)
                seen = _traced(mine, activations)
            except RuntimeError:
                break
            bare = tuple(replace(chain, activation=None) for chain in seen)
            found.append(next((c for c in (seen, bare) if _same(mine, c, activations, before)), ()))
            activations = before
    return (*found, *[()] * (len(stages) - len(found)))


def fold(stage: nn.Module, chain: Chain) -> tuple[nn.Conv2d, nn.Module | None]:
    """Moves a frozen batch-norm into the convolution before it, in place.

    Returns the convolution, and the activation that it is to do from now on: neither of the others does anything more.
    """
    convolution, norm = stage.get_submodule(chain.convolution), stage.get_submodule(chain.norm)
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    scale, shift = scale_and_shift(norm)
    bias = shift if convolution.bias is None else convolution.bias * scale + shift
    convolution.weight = nn.Parameter(convolution.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
    convolution.bias = nn.Parameter(bias, requires_grad=False)
    return convolution, bypass(stage, chain)


def bypass(stage: nn.Module, chain: Chain) -> nn.Module | None:
    """Makes the batch-norm of `chain`, and its activation, pass on what they get; returns the activation."""
    norm = stage.get_submodule(chain.norm)
    if chain.activation is None:
        # What the norm does besides (timm's holds the activation, too) stays.
        rest = [module for name, module in norm.named_children() if name in ("drop", "act")]
        norm.forward = nn.Sequential(*rest).forward if rest else _identity
        return None
    activation = stage.get_submodule(chain.activation)
    for module in (norm, activation):
        module.forward = _identity
    return activation


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """A frozen batch-norm as a product and a sum per channel."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * scale
    return (scale, shift) if norm.weight is None else (scale * norm.weight, shift * norm.weight + norm.bias)


def clamp_of(activation: nn.Module | None) -> Clamp | None:
    """The range that `activation` clamps to, where that is all it does."""
    match activation:
        case nn.ReLU6() | nn.Hardtanh():
            return activation.min_val, activation.max_val
        case nn.ReLU():
            return 0.0, float("inf")
    return None


def _traced(stage: nn.Module, activations: torch.Tensor) -> tuple[Chain, ...]:
    names = {module: name for name, module in stage.named_modules()}
    made_by: dict[int, nn.Module] = {}
    after: dict[nn.Module, nn.Module] = {}
    calls: Counter[nn.Module] = Counter()
    kept: list[Any] = []  # an output that is freed could lend its id to another one

    def before(module: nn.Module, inputs: Any) -> None:
        calls[module] += 1
        if (maker := made_by.get(id(inputs[0]))) is not None:
            after[maker] = module

    def done(module: nn.Module, _inputs: Any, output: Any) -> None:
        made_by[id(output)] = module
        kept.append(output)

    hooks = []
    for module in stage.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) or clamp_of(module) is not None:
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(done)]
    stage(activations)
    for hook in hooks:
        hook.remove()
    chains = []
    for convolution, norm in after.items():
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            if calls[convolution] > 1 or calls[norm] > 1 or norm.running_var is None:
                continue
            own = norm.get_submodule("act") if "act" in dict(norm.named_children()) else None
            activation = own if type(norm) is not nn.BatchNorm2d else after.get(norm)
            known = activation is not None and clamp_of(activation) is not None and calls[activation] == 1
            chains.append(
                Chain(names[convolution], names[norm], names[activation] if known and activation is not None else None)
            )
    return tuple(chains)


def _same(stage: nn.Module, chains: tuple[Chain, ...], activations: torch.Tensor, expected: torch.Tensor) -> bool:
    mine = copy.deepcopy(stage)
    for chain in chains:
        convolution, activation = fold(mine, chain)
        if (clamp := clamp_of(activation)) is not None:
            convolution.register_forward_hook(lambda _m, _i, out, clamp=clamp: out.clamp(*clamp))
    tolerance = _TOLERANCE * float(expected.abs().max())
    return torch.allclose(mine(activations), expected, rtol=_TOLERANCE, atol=tolerance)


def _identity(values: torch.Tensor) -> torch.Tensor:
    return values
