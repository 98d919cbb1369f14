"""VGG16 (Simonyan and Zisserman 2015): one stage for each block of convolutions with the pooling that ends it."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbone import IMAGENET, AveragePool, Parts


def decompose(model: Any) -> Parts:
    stages: list[nn.Module] = []
    block: list[nn.Module] = []
    for layer in model.features:
        block.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages.append(nn.Sequential(*block))
            block = []
    return Parts(
        stages=tuple(stages),
        widths=(64, 128, 256, 512, 512),
        preprocessing=IMAGENET,
        pool=AveragePool(),
        source_head=nn.Sequential(model.avgpool, nn.Flatten(), model.classifier),
    )
