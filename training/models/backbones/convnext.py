"""ConvNeXt tiny (Liu et al. 2022): one stage for each entry of `features`, so downsampling and blocks take turns."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbone import IMAGENET, AveragePool, Parts


def decompose(model: Any) -> Parts:
    return Parts(
        stages=tuple(model.features),
        widths=(96, 96, 192, 192, 384, 384, 768, 768),
        preprocessing=IMAGENET,
        pool=AveragePool(normalise=True),
        # The classifier begins with the layer norm and flattens after it.
        source_head=nn.Sequential(model.avgpool, model.classifier),
    )
