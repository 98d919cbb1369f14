"""Small convolutional networks that begin with random weights: their shape is searched, not loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from search_spaces import Value

from ..dimensions import dimension
from .backbone import Parts, Preprocessing

CNN = "cnn:"
FROZEN = 0
_NAME = re.compile(rf"{CNN}(\d+)x(\d+)x(\d+)(?::b(\d+)c(\d+)k(\d+)n([01]))?")


def _is_batch_norm(value: Value) -> bool:
    return value == "batch"


@dataclass(frozen=True)
class Shape:
    """Of images (channels, height, width), and of `blocks`: two convolutions with `kernel`, then half the pixels.

    The first block has `channels` channels, each later one twice as many as the one before. With `norm` a batch-norm
    follows each convolution.
    """

    image: tuple[int, int, int]
    blocks: int = dimension("conv_blocks", int, 2)
    channels: int = dimension("conv_channels", int, 32)
    kernel: int = dimension("conv_kernel", int, 3)
    norm: bool = dimension("conv_norm", _is_batch_norm, True)


def shape_of(name: str) -> Shape | None:
    """The network of that name, `cnn:CxHxW` or what `name_of` makes of it; None where `name` is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    image = (int(found[1]), int(found[2]), int(found[3]))
    if found[4] is None:
        return Shape(image)
    return Shape(image, int(found[4]), int(found[5]), int(found[6]), found[7] == "1")


def name_of(shape: Shape) -> str:
    """What `shape_of` makes the shape of."""
    image = "x".join(map(str, shape.image))
    return f"{CNN}{image}:b{shape.blocks}c{shape.channels}k{shape.kernel}n{int(shape.norm)}"


def frozen_name(name: str) -> str:
    """All of `name`: every stage trains."""
    return name


def parts(shape: Shape) -> Parts:
    """One stage a block; features are the last block's output, flat. Pixels are shifted to -1..1.

    The weights are the same in every process; whoever trains them begins with others (`reset_stage`).
    """
    inputs, height, width = shape.image
    stages: list[nn.Module] = []
    widths: list[int] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in range(shape.blocks):
            channels = shape.channels * 2**block
            stages.append(_block(inputs, channels, shape))
            height, width, inputs = height // 2, width // 2, channels
            widths.append(channels)
    # What the head takes.
    widths[-1] = inputs * height * width
    halves = (0.5,) * shape.image[0]
    return Parts(tuple(stages), tuple(widths), Preprocessing(halves, halves), nn.Flatten(), nn.Identity())


def _block(inputs: int, channels: int, shape: Shape) -> nn.Sequential:
    layers: list[nn.Module] = []
    for given in (inputs, channels):
        layers.append(nn.Conv2d(given, channels, shape.kernel, padding=shape.kernel // 2, bias=not shape.norm))
        layers += [nn.BatchNorm2d(channels)] if shape.norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2))
