"""MobileNetV2 (Sandler et al. 2018), MobileNetV3 small (Howard et al. 2019): one stage for each entry of `features`."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbone import IMAGENET, AveragePool, Parts

_V2 = (32, 16, *2 * (24,), *3 * (32,), *4 * (64,), *3 * (96,), *3 * (160,), 320, 1280)
_V3_SMALL = (16, 16, *2 * (24,), *3 * (40,), *2 * (48,), *3 * (96,), 576)


def decompose_v2(model: Any) -> Parts:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier)
    return Parts(tuple(model.features), _V2, IMAGENET, AveragePool(), head)


def decompose_v3_small(model: Any) -> Parts:
    head = nn.Sequential(model.avgpool, nn.Flatten(), model.classifier)
    return Parts(tuple(model.features), _V3_SMALL, IMAGENET, AveragePool(), head)
