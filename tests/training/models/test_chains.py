import torch
from torch import nn

from training.models.backbones import build
from training.models.backbones.chains import Chain

from .test_lowering import backbone_of


def test_chains_of_a_residual_block() -> None:
    chains = build("mobilenet_v2").chains
    assert chains[2][0] == Chain("conv.0.0", "conv.0.1", "conv.0.2")
    assert chains[2][-1] == Chain("conv.2", "conv.3", None)


def test_an_activation_that_serves_twice_stays() -> None:
    chains = build("resnet18").chains
    block = next(found for found in chains if len(found) > 1)
    assert all(chain.activation is None for chain in block)


class Branching(nn.Module):
    """What a part gives is seen elsewhere, too: `after` names it."""

    def __init__(self, after: str) -> None:
        super().__init__()
        self.after = after
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        assert self.norm.running_mean is not None
        self.norm.running_mean.fill_(0.3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one = self.conv(images)
        two = self.norm(one)
        out: torch.Tensor = self.act(two)
        return out + {"conv": one, "norm": two, "act": out}[self.after]


def test_what_is_seen_elsewhere_is_no_chain() -> None:
    assert backbone_of(Branching("conv")).chains == ((),)
    assert backbone_of(Branching("norm")).chains == ((Chain("conv", "norm", None),),)
    assert backbone_of(Branching("act")).chains == ((Chain("conv", "norm", "act"),),)


def test_a_stage_that_is_too_small_for_the_picture_has_none() -> None:
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 100), nn.BatchNorm2d(4))
    assert backbone_of(stage).chains == ((),)
