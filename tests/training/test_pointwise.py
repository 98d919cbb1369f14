import copy

import torch
from torch import nn

from training.backbones import build
from training.backbones.pointwise import PointwiseConv2d, with_pointwise


def test_products_of_matrices_are_the_same_layers() -> None:
    stages = nn.Sequential(*build("mobilenet_v2").stages).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mine = with_pointwise(copy.deepcopy(stages))
    replaced = [module for module in mine.modules() if isinstance(module, PointwiseConv2d)]
    assert len(replaced) > 30
    assert mine.state_dict().keys() == stages.state_dict().keys()
    images = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    expected, found = stages(images), mine(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    expected.square().mean().backward()
    found.square().mean().backward()
    for one, other in zip(mine.parameters(), stages.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max()))


def test_other_convolutions_stay_what_they_are() -> None:
    others = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1, padding=1)
    )
    assert all(type(module) is nn.Conv2d for module in with_pointwise(others))
    assert isinstance(with_pointwise(nn.Conv2d(4, 8, 1)), PointwiseConv2d)
