"""EfficientNet-B0 (Tan and Le 2019): one stage for each entry of `features`."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbone import IMAGENET, AveragePool, Parts


def decompose(model: Any) -> Parts:
    return Parts(
        stages=tuple(model.features),
        widths=(32, 16, 24, 40, 80, 112, 192, 320, 1280),
        preprocessing=IMAGENET,
        pool=AveragePool(),
        source_head=nn.Sequential(model.avgpool, nn.Flatten(), model.classifier),
    )
