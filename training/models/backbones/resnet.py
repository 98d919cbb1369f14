"""ResNet-18, -50 and -152 (He et al. 2016): the stem, then the four groups of residual blocks."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbone import IMAGENET, AveragePool, Parts


def decompose(model: Any) -> Parts:
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    width = model.fc.in_features
    return Parts(
        stages=(stem, model.layer1, model.layer2, model.layer3, model.layer4),
        widths=(64, width // 8, width // 4, width // 2, width),
        preprocessing=IMAGENET,
        pool=AveragePool(),
        source_head=nn.Sequential(model.avgpool, nn.Flatten(), model.fc),
    )
