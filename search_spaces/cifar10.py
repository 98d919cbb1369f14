"""CIFAR-10 by transfer learning: ten classes of photos of 32 x 32 pixels, scaled up for a backbone of larger ones."""

from __future__ import annotations

from .space import SearchSpace
from .task import Task
from .transfer import BACKBONES, frozen_recipe, transfer_dimensions

CIFAR10 = Task(
    name="cifar10",
    title="CIFAR-10 by transfer",
    modality="image",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="ResNet-152 frozen under a new linear classifier; resolution and rates are customary ones",
    recipe=frozen_recipe("resnet152"),
    space=SearchSpace(transfer_dimensions((*BACKBONES, "resnet152"))),
)
