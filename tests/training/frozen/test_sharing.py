"""For every backbone: shared work and lanes give the losses that the same trial gives alone and unshared."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces import Choice, Config
from training import FitResult, Numerics, Prefixes, PrefixStore, fit, fit_lanes
from training.models.backbones import BACKBONES, build
from training.models.backbones.backbone import Backbone

from ...toys import TOY, toy_splits

RESOLUTION = 64
NAMES = [*BACKBONES, "timm:tf_efficientnet_lite0"]
# Seconds each, and of families of which a smaller one or a simpler one is tested at once.
LARGE = ("vgg16", "resnet50", "resnet101", "resnet152", "convnext_tiny")
_SPACE = TOY.space.replace(backbone=Choice("toy", *NAMES), resolution=Choice(16, RESOLUTION))
TASK = replace(TOY, space=_SPACE)
SPLITS = toy_splits(12, 6, resolution=RESOLUTION)
FP32, BF16 = Numerics(), Numerics("bf16", channels_last=True)
# fp32 differs by rounding alone. bf16 has 8 bits, of which a loss over several layers keeps most.
TOLERANCES = {FP32: 1e-5, BF16: 2e-2}


@functools.cache
def backbone(name: str) -> Backbone:
    """Random weights whose batch-norms know what comes in, as those of a trained network do."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build(name)
    stages = nn.Sequential(*made.stages)
    norms = [module for module in stages.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        stages(torch.randn(8, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(1)))
    for norm in norms:
        norm.momentum = 0.1
    stages.eval()
    return made


def fresh(name: str) -> Backbone:
    return replace(backbone(name), stages=tuple(copy.deepcopy(stage) for stage in backbone(name).stages))


def config(name: str, **changes: float | int | str) -> Config:
    wanted = {"backbone": name, "resolution": RESOLUTION, "learning_rate": 1e-3, "unfrozen_stages": 1, "momentum": 0.9}
    return TASK.space.activate(TASK.recipe | wanted | changes)


def curve(result: FitResult) -> torch.Tensor:
    return torch.tensor([(epoch.loss, epoch.valid_loss) for epoch in result.curve], dtype=torch.float64)


@pytest.mark.parametrize("numerics", TOLERANCES, ids=str)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NAMES]
)
def test_sharing_changes_nothing_of_what_is_learned(tmp_path: Path, name: str, numerics: Numerics) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    store = PrefixStore(tmp_path, disk_limit=2**30, memory_limit=2**28)
    shared = Prefixes(backbones=fresh, numerics=numerics, store=store, unfrozen=1)
    configs = [config(name), config(name, optimizer="sgd", dropout=0.3, label_smoothing=0.1, head_width=8)]
    lanes = fit_lanes(TASK, configs, SPLITS, epochs=2, prefixes=shared)
    # The widest networks take long enough for one of the two.
    alone = configs[: 1 if name in ("vgg16", "resnet152") else 2]
    for one, lane in zip(alone, lanes, strict=False):
        unshared = fit(TASK, one, SPLITS, epochs=2, backbones=fresh, numerics=numerics)
        assert torch.isfinite(curve(unshared)).all()
        tolerance = TOLERANCES[numerics]
        torch.testing.assert_close(curve(lane), curve(unshared), rtol=tolerance, atol=tolerance)
    assert store.usage()
