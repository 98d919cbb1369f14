"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016): a stage for each entry of `features`, bare ReLU and pooling too."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbone import IMAGENET, AveragePool, Parts, out_of_place

_V1_0 = (*3 * (96,), *2 * (128,), *3 * (256,), *2 * (384,), *3 * (512,))
_V1_1 = (*3 * (64,), *3 * (128,), *3 * (256,), *2 * (384,), *2 * (512,))


def decompose_v1_0(model: Any) -> Parts:
    return _divide(model, _V1_0)


def decompose_v1_1(model: Any) -> Parts:
    return _divide(model, _V1_1)


def _divide(model: Any, widths: tuple[int, ...]) -> Parts:
    stages = tuple(out_of_place(entry) if isinstance(entry, nn.ReLU) else entry for entry in model.features)
    # The source's classifier ends with the pooling.
    head = nn.Sequential(model.classifier, nn.Flatten())
    return Parts(stages, widths, IMAGENET, AveragePool(), head)
