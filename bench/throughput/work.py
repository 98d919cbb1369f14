"""What a case asks of a machine per image: floating-point operations, and bytes to and from memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from training.models.backbones import build
from training.models.lowering import lower
from training.models.numerics import Numerics

from .cases import CLASSES, INFERENCE, Case

_COUNTED = 2
# They move nothing where they do nothing.
_FREE = (nn.Identity, nn.Flatten, nn.Dropout)
# Of a trained parameter: read in the backward pass, its gradient written; then the optimizer reads gradient, parameter
# and momentum, and writes the latter two.
_OF_TRAINED = 7


@dataclass(frozen=True)
class Work:
    """Per image. `flops` counts a multiplication and an addition as two, in convolutions and products of matrices.

    `bytes` is a model: what every layer reads and writes, its input and its output once in the forward pass and twice
    in the backward pass, as large as they are stored; and the parameters' traffic in fp32, shared by the batch. Code
    that fuses layers moves less.
    """

    flops: float
    bytes: float


def work_of(case: Case, device: torch.device) -> Work:
    """Counted in the stages as they are lowered for training, under a linear head, on a batch of two."""
    backbone, numerics = build(case.backbone), Numerics(case.precision)
    stages = len(backbone.stages)
    cut = stages if case.mode == INFERENCE else case.spec().backbone.cut(stages)
    lowered = lower(backbone, cut, numerics, device)
    head = nn.Linear(backbone.widths[-1], CLASSES, device=device)
    model = nn.ModuleList([*lowered.frozen, *lowered.trained, backbone.pool, head])
    lowered.trained.train()
    images = torch.zeros(_COUNTED, 3, case.resolution, case.resolution, device=device)
    with counting_flops() as counter, _traffic(model) as traffic:
        with numerics.autocast(device):
            with torch.no_grad():
                for stage in lowered.frozen:
                    images = stage(images)
            for stage in lowered.trained:
                images = stage(images)
            features = backbone.pool(images).float()
        with torch.set_grad_enabled(case.mode != INFERENCE):
            outputs = head(features)
        if case.mode != INFERENCE:
            outputs.sum().backward()
    of_parameters = sum(parameter.nbytes for parameter in model.parameters())
    if case.mode != INFERENCE:
        trained = (*lowered.trained.parameters(), *head.parameters())
        of_parameters += _OF_TRAINED * sum(parameter.nbytes for parameter in trained)
    return Work(counter.get_total_flops() / _COUNTED, sum(traffic) / _COUNTED + of_parameters / case.batch_size)


def counting_flops() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops})


def _backward_flops(
    gradient: Sequence[int], _images: Sequence[int], weight: Sequence[int], *rest: Any, **_kept: Any
) -> int:
    """Of a convolution's backward pass: those of its forward pass for each gradient that is wanted.

    torch's own formula takes every convolution for one without groups, and so a depthwise one for hundreds of times
    the work.
    """
    forward: int = 2 * math.prod(gradient) * math.prod(weight[1:])
    of_input, of_weight, _ = rest[-1]
    return forward * (int(of_input) + int(of_weight))


@contextmanager
def _traffic(model: nn.Module) -> Iterator[list[int]]:
    """Collects the bytes of activations that the layers of `model` read and write, the backward pass included."""
    traffic: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output is inputs[0] and not getattr(layer, "inplace", False):
            return  # a norm that is folded into the convolution before it
        # Backward, a layer reads the gradient of its output twice (for its input's and its weights' gradients), reads
        # its input again, and writes the gradient of that.
        traffic.append((inputs[0].nbytes + output.nbytes) * (3 if output.requires_grad else 1))

    layers = [m for m in model.modules() if not [*m.children()] and not isinstance(m, _FREE)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        yield traffic
    finally:
        for hook in hooks:
            hook.remove()
