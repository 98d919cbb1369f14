"""A backbone: a source's feature extractor as an ordered list of stages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces import InputError

from ..kernels.spatial_mean import spatial_mean
from .chains import Chain, find_chains

RANDOM = "random"
# Batches that a batch-norm has seen: older weight files lack it, and nothing that is computed here depends on it.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Preprocessing:
    """What images in 0..1 are shifted and divided by, per channel, before the first stage."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class Parts:
    """A source model taken apart; the modules are the model's own, not copies.

    Attributes:
        stages: in order; the first takes normalised images (N, C, H, W). No stage changes its input in place, so
            that what a stage gave can be kept and used again.
        widths: channels after each stage.
        preprocessing: how the source normalises images; None where the first stage takes inputs as they are stored.
        pool: features after the last stage -> (N, widths[-1]); holds no parameters. Where the source normalises its
            pooled features (ConvNeXt, some ViTs), so does this, without the learnt scale and shift.
        source_head: features after the last stage -> the source's own logits.
    """

    stages: tuple[nn.Module, ...]
    widths: tuple[int, ...]
    preprocessing: Preprocessing | None
    pool: nn.Module
    source_head: nn.Module


@dataclass(frozen=True, eq=False)
class Backbone(Parts):
    """Stages with weights, in evaluation mode: `source_head(stages(x))` equals the source model to rounding.

    Attributes:
        name: as `build` takes it.
        weights_digest: 16 hexadecimal digits over the stages' tensors as they were when this was made; equal weights
            have one digest, whichever file they came from.
        origin: for people, where the weights came from; `"random"` when from nowhere.
    """

    name: str
    weights_digest: str
    origin: str

    @property
    def trained(self) -> bool:
        return self.origin != RANDOM

    @cached_property
    def chains(self) -> tuple[tuple[Chain, ...], ...]:
        """Of each stage, what can be computed as one; found when first asked for, with the weights of that time."""
        if self.preprocessing is None:
            return ((),) * len(self.stages)
        return find_chains(self.stages, len(self.preprocessing.mean))

    def check_cut(self, cut: int) -> None:
        """
        Raises:
            InputError: the backbone can't be cut there.
        """
        if not 0 <= cut <= len(self.stages):
            raise InputError(f"{self.name} can be cut at 0 to {len(self.stages)}, not at {cut}")

    def split(self, cut: int) -> tuple[nn.Sequential, nn.Sequential]:
        """(prefix, suffix): the first `cut` stages, and the others; they share their modules with this backbone.

        Raises:
            InputError: the backbone can't be cut there.
        """
        self.check_cut(cut)
        return nn.Sequential(*self.stages[:cut]), nn.Sequential(*self.stages[cut:])


def assemble(name: str, parts: Parts, origin: str) -> Backbone:
    """A backbone of `parts` with the weights that they hold now."""
    for module in (*parts.stages, parts.pool, parts.source_head):
        module.eval()
    return Backbone(
        stages=parts.stages,
        widths=parts.widths,
        preprocessing=parts.preprocessing,
        pool=parts.pool,
        source_head=parts.source_head,
        name=name,
        weights_digest=digest_of(parts.stages),
        origin=origin,
    )


def digest_of(stages: Iterable[nn.Module]) -> str:
    """16 hexadecimal digits that change with any parameter or batch-norm statistic of `stages`."""
    digest = hashlib.sha256()
    for name, tensor in nn.ModuleList(stages).state_dict().items():
        if not name.endswith(COUNTER):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def freeze(stages: Iterable[nn.Module], cut: int) -> None:
    """Freezes the first `cut` stages and thaws the others.

    A frozen stage is in evaluation mode, which keeps its batch-norm statistics; `train()` on a module that holds it
    ends that, so this is to be called after.
    """
    for number, stage in enumerate(stages):
        stage.requires_grad_(number >= cut)
        stage.train(number >= cut)


def out_of_place(stage: nn.Module) -> nn.Module:
    """`stage`, whose activations no longer overwrite their input."""
    for module in stage.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return stage


class AveragePool(nn.Module):
    """Features -> (N, C), the mean over every axis but the first and `channel_axis`.

    With `normalise` the result is layer-normalised without scale and shift.
    """

    def __init__(self, channel_axis: int = 1, normalise: bool = False) -> None:
        super().__init__()
        self.channel_axis = channel_axis
        self.normalise = normalise

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        channel = self.channel_axis % features.ndim
        if channel == 1 and features.ndim == 4:
            pooled = spatial_mean(features)
        else:
            pooled = features.mean([axis for axis in range(1, features.ndim) if axis != channel])
        return F.layer_norm(pooled, (int(pooled.shape[1]),), eps=1e-6) if self.normalise else pooled
