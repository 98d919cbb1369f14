from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from training.models.backbones import BACKBONES, build
from training.models.backbones.backbone import Backbone
from training.models.backbones.chains import chains_of
from training.models.backbones.quick import NormedConv2d, PointwiseConv2d, quickened

from ...toys import toy_backbone
from .test_folding import with_statistics

NAMES = [name for name in BACKBONES if name not in ("vgg16", "resnet101", "resnet152")]


def last_stages(backbone: Backbone, count: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The last stages as they are, and made quick."""
    stages = nn.Sequential(*copy.deepcopy(backbone.stages[-count:])).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    chains = chains_of(backbone)[-count:]
    mine = nn.Sequential(*(quickened(copy.deepcopy(stage), chain) for stage, chain in zip(stages, chains, strict=True)))
    return stages, mine


@pytest.mark.parametrize("own_statistics", [False, True], ids=["pretrained", "batch"])
@pytest.mark.parametrize(
    "name",
    [
        "toy",
        *(pytest.param(n, marks=pytest.mark.slow) if n == "resnet50" else n for n in NAMES),
        "timm:tf_efficientnet_lite0",
    ],
)
def test_quick_stages_are_the_same_layers(name: str, own_statistics: bool) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    backbone = with_statistics(toy_backbone() if name == "toy" else build(name))
    count = min(3, len(backbone.stages) - 1)
    before = nn.Sequential(*backbone.stages[:-count])
    stages, mine = last_stages(backbone, count)
    assert mine.state_dict().keys() == stages.state_dict().keys()
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in stages.named_parameters()]
    with torch.no_grad():
        images = before(torch.rand(6, 3, 96, 96, generator=torch.Generator().manual_seed(2)))
    images = images.contiguous(memory_format=torch.channels_last)
    for part in (stages, mine):
        part.train()
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d) and not own_statistics:
                module.eval()
    results = []
    for part in (stages, mine):
        torch.manual_seed(3)  # for the dropout that some hold
        given = images.clone().requires_grad_()
        found = part(given)
        found.square().mean().backward()
        results.append([found, given.grad, *(parameter.grad for parameter in part.parameters())])
    # Some gradients are nothing but rounding: what a norm's input is shifted by, its output doesn't see.
    noise = 1e-6 * max(float(theirs.detach().abs().max()) for theirs in results[0] if theirs is not None)
    for theirs, ours in zip(*results, strict=True):
        assert theirs is not None
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.detach().abs().max()) + noise)
    torch.testing.assert_close(mine.state_dict(), stages.state_dict(), rtol=1e-4, atol=1e-5)


def test_what_is_made_quick() -> None:
    backbone = build("mobilenet_v2")
    _, mine = last_stages(backbone, 3)
    assert sum(isinstance(module, NormedConv2d) for module in mine.modules()) == 7
    # The activations that were taken over leave what they get as it is.
    _, lite = last_stages(build("squeezenet1_1"), 3)
    assert any(isinstance(module, PointwiseConv2d) for module in lite.modules())


def test_other_convolutions_stay_what_they_are() -> None:
    others = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1, padding=1)
    )
    assert all(type(module) is nn.Conv2d for module in quickened(others, ()))
    assert isinstance(quickened(nn.Conv2d(4, 8, 1), ()), PointwiseConv2d)


def test_gradients_reach_the_input_only_where_they_are_wanted() -> None:
    backbone = toy_backbone()
    _, mine = last_stages(backbone, 1)
    with torch.no_grad():
        images = nn.Sequential(*backbone.stages[:-1])(torch.rand(2, 3, 16, 16))
    found = mine(images.contiguous(memory_format=torch.channels_last))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in mine.parameters())
