"""No backbone at all: pixels as features, for networks that are nothing but a head (multilayer perceptrons)."""

from __future__ import annotations

import re

from torch import nn

from .backbone import Parts, Preprocessing

PIXELS = "pixels:"
_NAME = re.compile(rf"{PIXELS}([1-9]\d*)x([1-9]\d*)x([1-9]\d*)")


def shape_of(name: str) -> tuple[int, int, int] | None:
    """(channels, height, width) of `pixels:CxHxW`; None where `name` is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def parts(shape: tuple[int, int, int]) -> Parts:
    """One stage without parameters, (N, C, H, W) -> (N, C * H * W); pixels are shifted to -1..1."""
    channels, height, width = shape
    halves = (0.5,) * channels
    return Parts(
        (nn.Flatten(),), (channels * height * width,), Preprocessing(halves, halves), nn.Identity(), nn.Identity()
    )
