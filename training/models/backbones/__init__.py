"""Backbones as ordered stages. To add one: a file whose function takes the source's model apart, and its line here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from torch import nn

from search_spaces import InputError

from ...machine import vision
from . import (
    convnext,
    efficientnet,
    mobilenet,
    pixels,
    residual,
    resnet,
    scratch,
    squeezenet,
    table,
    texts,
    timm_models,
    vgg,
)
from .backbone import RANDOM
from .backbone import Backbone as Backbone
from .backbone import Parts as Parts
from .backbone import Preprocessing as Preprocessing
from .backbone import assemble as assemble
from .backbone import freeze as freeze

# torchvision's name -> what takes torchvision's model apart.
BACKBONES: Mapping[str, Callable[[Any], Parts]] = MappingProxyType(
    {
        "vgg16": vgg.decompose,
        "resnet18": resnet.decompose,
        "resnet50": resnet.decompose,
        "resnet152": resnet.decompose,
        "mobilenet_v2": mobilenet.decompose_v2,
        "mobilenet_v3_small": mobilenet.decompose_v3_small,
        "squeezenet1_0": squeezenet.decompose_v1_0,
        "squeezenet1_1": squeezenet.decompose_v1_1,
        "efficientnet_b0": efficientnet.decompose,
        "convnext_tiny": convnext.decompose,
    }
)
TIMM = "timm:"
NOTHING = "nothing learnt before"
_IMAGES = re.compile(r":\d+x(\d+)x\d+")


class Own(Protocol):
    """Backbones of one kind that need no weights, as a module of this package."""

    def shape_of(self, name: str, /) -> Any:
        """What `parts` takes, of the kind's own type; None where `name` is none of this kind."""

    def parts(self, shape: Any, /) -> Parts: ...


class Family(Own, Protocol):
    """Networks of one kind that begin with random weights. `FROZEN` of their first stages have nothing to train.

    Their shapes are dataclasses. A field that is searched names its dimension (`models/dimensions.py`).
    """

    FROZEN: int

    def name_of(self, shape: Any, /) -> str:
        """A name that says all of a shape: `shape_of` makes the shape of it again."""

    def frozen_name(self, name: str, /) -> str:
        """What of a name that `name_of` gave decides the stages that have nothing to train."""


# By what their names begin with.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {"cnn:": scratch, "residual:": residual, "bag:": texts, "encoder:": texts}
)
_KINDS: tuple[Own, ...] = (pixels, table, scratch, residual, texts)


def family_of(name: str) -> Family | None:
    """The kind of network that begins with random weights and has this name; None where it is another backbone."""
    beginning, colon, _ = name.partition(":")
    return FAMILIES.get(beginning + colon)


def image_side(name: str) -> int:
    """The side in pixels of the images that a backbone is made for, where its name says so (`cnn:1x28x28`), else 0."""
    named = _IMAGES.search(name)
    return int(named[1]) if named else 0


def frozen_name(name: str, cut: int) -> str:
    """What of a backbone's name decides its first `cut` stages, as far as is known: all of it in most cases."""
    family = family_of(name)
    return family.frozen_name(name) if family is not None and cut <= family.FROZEN else name


def build(name: str) -> Backbone:
    """The backbone `name` with random weights, from torch's own random state; nothing is downloaded.

    Raises:
        InputError: there is none of that name, or the stages of timm's model can't be followed.
    """
    for kind in _KINDS:
        if (shape := kind.shape_of(name)) is not None:
            return assemble(name, kind.parts(shape), NOTHING)
    return assemble(name, decompose(name, source_model(name)), RANDOM)


def needs_weights(name: str) -> bool:
    """Whether the backbone is one that was trained before."""
    return all(kind.shape_of(name) is None for kind in _KINDS)


def check_name(name: str) -> None:
    """
    Raises:
        InputError: `name` is no backbone, or timm's and timm is missing.
    """
    if name.startswith(TIMM):
        timm_models.check_name(name.removeprefix(TIMM))
    elif name not in BACKBONES and needs_weights(name):
        close = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(
            f"no backbone {name!r}: {hint}there are {', '.join(BACKBONES)}, timm:NAME for timm's models, "
            "cnn:CxHxW and residual:CxHxW for small networks without weights, pixels:CxHxW for none, bag:BYTES and "
            "encoder:BYTES for texts, table:COLUMNS for tables"
        )


def source_model(name: str) -> nn.Module:
    """The model as its source makes it, with random weights, in evaluation mode.

    Raises:
        InputError: there is none of that name.
    """
    check_name(name)
    if name.startswith(TIMM):
        model: nn.Module = timm_models.create(name.removeprefix(TIMM))
    else:
        model = vision.torchvision().models.get_model(name)
    return model.eval()


def decompose(name: str, model: nn.Module) -> Parts:
    """The parts of `source_model(name)`, which they share.

    Raises:
        InputError: the stages of timm's model can't be followed.
    """
    return timm_models.decompose(model) if name.startswith(TIMM) else BACKBONES[name](model)
