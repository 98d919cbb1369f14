from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from training.models.backbones import BACKBONES, build
from training.models.backbones.backbone import Backbone
from training.models.backbones.folding import folded_stages

from ...toys import toy_backbone


def with_statistics(backbone: Backbone) -> Backbone:
    """Batch-norms of random weights change next to nothing: these have something to say."""
    generator = torch.Generator().manual_seed(1)
    for module in nn.ModuleList(backbone.stages).modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 2, generator=generator)
                module.bias.data.normal_(0, 0.1, generator=generator)
    return backbone


# The large ones have the parts of the small ones.
NAMES = [name for name in BACKBONES if name not in ("vgg16", "resnet101", "resnet152")]


@pytest.mark.parametrize("name", ["toy", *NAMES, "timm:tf_efficientnet_lite0"])
@torch.no_grad()
def test_folded_stages_compute_the_same(name: str) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    backbone = with_statistics(toy_backbone() if name == "toy" else build(name))
    before = copy.deepcopy(nn.ModuleList(backbone.stages).state_dict())
    seen = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    norms = 0
    for quick, stage in zip(folded_stages(backbone), backbone.stages, strict=True):
        mine, seen = quick(seen), stage(seen)
        torch.testing.assert_close(mine, seen, rtol=1e-3, atol=1e-4 * float(seen.abs().max()))
        norms += sum(isinstance(module, nn.BatchNorm2d) for module in stage.modules())
        folded = [m for m in quick.modules() if isinstance(m, nn.BatchNorm2d) and "forward" in m.__dict__]
        # Every stage of these was folded: a norm that no convolution could take over would show here.
        if norms:
            assert len(folded) == sum(isinstance(module, nn.BatchNorm2d) for module in stage.modules())
    after = nn.ModuleList(backbone.stages).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_convolution_whose_output_is_seen_elsewhere_is_left_alone() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen = self.conv(images)
            return torch.as_tensor(self.norm(seen) + seen)

    stage = Branching()
    stage.norm.running_mean.fill_(0.3)  # type: ignore[union-attr]
    toy = toy_backbone()
    backbone = Backbone((stage,), (4,), toy.preprocessing, toy.pool, toy.source_head, "b", "0", "made up")
    assert folded_stages(backbone) == (stage,)
