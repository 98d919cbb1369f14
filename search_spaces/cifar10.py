"""CIFAR-10: ten classes of photos of 32 x 32 pixels, enlarged for a pretrained backbone, or as they are."""

from __future__ import annotations

from .dimensions import Choice
from .space import SearchSpace
from .task import Task
from .transfer import BACKBONES, frozen_recipe, transfer_dimensions

_PRETRAINED = (*BACKBONES, "resnet152")
_RESIDUAL = "residual:3x32x32"
_TRANSFER = transfer_dimensions((*_PRETRAINED, _RESIDUAL))

CIFAR10 = Task(
    name="cifar10",
    title="CIFAR-10 by transfer, or from scratch",
    modality="image",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="ResNet-152 frozen under a new linear classifier; resolution and rates are customary ones",
    recipe=frozen_recipe("resnet152"),
    space=SearchSpace(
        _TRANSFER
        | {
            # The residual network takes the images as they are, and all of it is trained.
            "resolution": _TRANSFER["resolution"].when("backbone", _PRETRAINED),
            "unfrozen_stages": _TRANSFER["unfrozen_stages"].when("backbone", _PRETRAINED),
            "residual_blocks": Choice(1, 2, 3).when("backbone", (_RESIDUAL,)),
            "residual_width": Choice(16, 32, 64).when("backbone", (_RESIDUAL,)),
        }
    ),
)
