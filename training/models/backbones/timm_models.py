"""Backbones of timm (Wightman), by following a model's own parts.

A model is followed when its features are what its children give one after another, up to the pooling. Each entry of
a list whose name ends in `blocks`, `stages`, `layers` or `features`, and each child named like `layer1`, is one stage;
what stands before them is the first stage, what stands between them and the pooling the last. Of a ViT the patch and
position embedding is the first stage, each block one, the final norm the last. That the stages give the model's own
features is checked by numbers whenever a model is taken apart.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from search_spaces import InputError

from ...machine import vision
from .backbone import AveragePool, Parts, Preprocessing, out_of_place

_LISTS = ("blocks", "stages", "layers", "features")
_NUMBERED = re.compile(r"(layer|stage|level|s)_?\d+")
_TRIAL_SIZE = 128
# Relative to the largest feature. A batch-norm without history changes 5e-6, and must not pass for rounding.
_ROUNDING = 1e-6


def check_name(name: str) -> None:
    """
    Raises:
        InputError: timm is missing or has no model `name`.
    """
    timm = vision.timm()
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean timm:{close[0]}?" if close else "timm.list_models() lists its names"
        raise InputError(f"timm has no model {name!r}: {hint}")


def create(name: str) -> Any:
    """timm's model `name` (without prefix; a tag of pretrained weights may follow a dot) with random weights.

    Raises:
        InputError: timm is missing or has no such model.
    """
    check_name(name)
    timm = vision.timm()
    # Else a ViT takes only the resolution it was trained at.
    vit = timm.models.is_model_in_modules(name, ["vision_transformer", "deit"])
    try:
        return timm.create_model(name, **({"dynamic_img_size": True} if vit else {}))
    except RuntimeError as problem:
        raise InputError(f"timm can't make {name!r}: {problem}") from None


def decompose(model: Any) -> Parts:
    """`model` taken apart.

    Raises:
        InputError: its features are not what its children give in a row.
    """
    model.eval()
    config = model.pretrained_cfg
    fixed = max(config["input_size"]) if config.get("fixed_input_size") else 0
    if _is_vit(model):
        groups, first_end = _vit_groups(model)
        patch = max(model.patch_embed.patch_size)
        guard, size = _Size(multiple=patch), 4 * patch
    else:
        groups, first_end = _groups(model)
        guard, size = _Size(only=fixed), fixed or _TRIAL_SIZE
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    followed, reason = None, ""
    try:
        followed = _follow(model, groups, first_end, image)
    # A part that expects something else than one tensor may fail in any way.
    except Exception as problem:
        reason = f" ({type(problem).__name__})"
    if followed is None:
        raise InputError(
            f"the stages of timm:{config['architecture']} can't be followed: its features are not what its parts "
            f"give in a row{reason}; choose another backbone"
        )
    stages, shapes = followed
    channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    axes = [-1 if len(shape) == 3 or channels_last else 1 for shape in shapes]
    return Parts(
        stages=(nn.Sequential(guard, stages[0]), *stages[1:]),
        widths=tuple(shape[axis] for shape, axis in zip(shapes, axes, strict=True)),
        preprocessing=Preprocessing(_three(config["mean"]), _three(config["std"])),
        pool=_pool(model, axes[-1]),
        source_head=_Head(model, stages),
    )


def _groups(model: Any) -> tuple[list[list[nn.Module]], int]:
    """The children, those of one stage together, and the number of the first group that may end the features."""
    before: list[nn.Module] = []
    after: list[nn.Module] = []
    stages: list[list[nn.Module]] = []
    for name, child in model.named_children():
        if name.endswith(_LISTS) and isinstance(child, nn.Sequential):
            stages += [[entry] for entry in child]
        elif _NUMBERED.fullmatch(name):
            stages.append([child])
        else:
            (after if stages else before).append(child)
    if not stages:
        return [[child] for child in before], 0
    groups = [before, *stages] if before else stages
    return [*groups, after], len(groups) - 1


def _vit_groups(model: Any) -> tuple[list[list[nn.Module]], int]:
    groups = [[_VitStem(model)], *([block] for block in model.blocks), [model.norm]]
    return groups, len(groups) - 2


@torch.no_grad()
def _follow(
    model: Any, groups: list[list[nn.Module]], first_end: int, image: torch.Tensor
) -> tuple[list[nn.Module], list[torch.Size]] | None:
    """The stages up to where they give the model's own features, and the shapes that they give for `image`."""
    target = model.forward_features(image)
    stages: list[nn.Module] = []
    shapes: list[torch.Size] = []
    given = image
    for number, group in enumerate(groups):
        stage = nn.Sequential()
        start = result = given.clone()
        ended = False
        for module in group:
            stage.append(module)
            result = module(result)
            ended = number >= first_end and _same(result, target)
            if ended:
                break
        if not torch.equal(start, given):
            out_of_place(stage)
        if number > first_end and next(stage.parameters(), None) is None:
            stages[-1] = nn.Sequential(stages[-1], stage)
            shapes[-1] = result.shape
        else:
            stages.append(stage[0] if len(stage) == 1 else stage)
            shapes.append(result.shape)
        if ended:
            return stages, shapes
        given = result
    return None


def _same(result: torch.Tensor, target: torch.Tensor) -> bool:
    return result.shape == target.shape and bool((result - target).abs().max() <= _ROUNDING * target.abs().max())


def _is_vit(model: Any) -> bool:
    return isinstance(model, vision.timm().models.VisionTransformer)


def _pool(model: Any, channel_axis: int) -> nn.Module:
    norms = (getattr(getattr(model, "head", None), "norm", None), getattr(model, "fc_norm", None))
    normalise = any(isinstance(norm, nn.LayerNorm) for norm in norms)
    if _is_vit(model):
        first = 0 if model.global_pool == "token" else model.num_prefix_tokens
        return _TokenPool(first, 1 if model.global_pool == "token" else None, normalise)
    return AveragePool(channel_axis, normalise)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


class _Size(nn.Module):
    """Passes images on, and says in plain words when the model behind it can't take their size."""

    def __init__(self, only: int = 0, multiple: int = 1) -> None:
        super().__init__()
        self.only = only
        self.multiple = multiple

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        if self.only and (height, width) != (self.only, self.only):
            raise InputError(f"this backbone takes only resolution {self.only}, not {height}: fix the resolution to it")
        if height % self.multiple or width % self.multiple:
            raise InputError(f"this backbone takes only multiples of {self.multiple} as resolution, not {height}")
        return images


class _TokenPool(nn.Module):
    """Tokens (N, L, C) -> (N, C), the mean of the tokens from `first` on, `count` of them or all."""

    def __init__(self, first: int, count: int | None, normalise: bool) -> None:
        super().__init__()
        self.first = first
        self.stop = None if count is None else first + count
        self.average = AveragePool(-1, normalise)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.average(tokens[:, self.first : self.stop])
        return pooled


def _shell(model: Any, children: Iterable[str], parameters: bool) -> Any:
    """`model` with its methods, settings and `children` only; these are its own, not copies."""
    shell = copy.copy(model)
    shell._modules = {name: model._modules[name] for name in children}
    shell._parameters = dict(model._parameters) if parameters else dict.fromkeys(model._parameters)
    return shell


class _VitStem(nn.Module):
    """The steps of a ViT before its blocks, as in `VisionTransformer.forward_features`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = _shell(model, ("patch_embed", "pos_drop", "patch_drop", "norm_pre"), parameters=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        model = self.model
        tokens: torch.Tensor = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
        return tokens


class _Head(nn.Module):
    """What is left of a model without its stages."""

    def __init__(self, model: Any, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        used = set(nn.ModuleList(stages).modules())
        own = [
            name
            for name, child in model.named_children()
            if child not in used and not (child._modules and used.issuperset(child.children()))
        ]
        self.model = _shell(model, own, parameters=not _is_vit(model))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.forward_head(features)
        return logits
