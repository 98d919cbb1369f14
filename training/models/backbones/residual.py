"""Small residual networks that begin with random weights (He et al. 2016, section 4.2: the form for CIFAR-10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from ..dimensions import dimension
from .backbone import AveragePool, Parts, Preprocessing

RESIDUAL = "residual:"
FROZEN = 0
_STRIDES = (1, 2, 2)
_NAME = re.compile(rf"{RESIDUAL}(\d+)x(\d+)x(\d+)(?::b(\d+)w(\d+))?")


@dataclass(frozen=True)
class Shape:
    """Of images (channels, height, width), and of three groups of `blocks` residual blocks each.

    The first group has `width` channels, each later one twice as many as the one before, on half the height and width.
    """

    image: tuple[int, int, int]
    blocks: int = dimension("residual_blocks", int, 1)
    width: int = dimension("residual_width", int, 16)


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)): two 3 x 3 convolutions beside the identity, or beside a 1 x 1 convolution where
    the shape changes (option B of He et al.)."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != channels or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # The sum is nobody else's: it may be overwritten.
        return cast(torch.Tensor, self.body(images) + self.shortcut(images)).relu_()


def shape_of(name: str) -> Shape | None:
    """The network of that name, `residual:CxHxW` or what `name_of` makes of it; None where `name` is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    image = (int(found[1]), int(found[2]), int(found[3]))
    return Shape(image) if found[4] is None else Shape(image, int(found[4]), int(found[5]))


def name_of(shape: Shape) -> str:
    """What `shape_of` makes the shape of."""
    return f"{RESIDUAL}{'x'.join(map(str, shape.image))}:b{shape.blocks}w{shape.width}"


def frozen_name(name: str) -> str:
    """All of `name`: every stage trains."""
    return name


def parts(shape: Shape) -> Parts:
    """Four stages: the first convolution, then the groups. Pixels are shifted to -1..1.

    The weights are the same in every process; whoever trains them begins with others (`reset_stage`).
    """
    channels, *_ = shape.image
    halves = (0.5,) * channels
    widths = (shape.width, *(shape.width * 2**group for group in range(len(_STRIDES))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stem = nn.Sequential(
            nn.Conv2d(channels, shape.width, 3, padding=1, bias=False), nn.BatchNorm2d(shape.width), nn.ReLU()
        )
        groups = [_group(*ends, shape.blocks, stride) for ends, stride in zip(pairwise(widths), _STRIDES, strict=True)]
    return Parts((stem, *groups), widths, Preprocessing(halves, halves), AveragePool(), nn.Identity())


def _group(inputs: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = Residual(inputs, channels, stride)
    return nn.Sequential(first, *(Residual(channels, channels, 1) for _ in range(blocks - 1)))
