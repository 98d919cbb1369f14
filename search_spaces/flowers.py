"""Kinds of flowers: Flowers-102, TensorFlow's five, or any other folder; its class folders are the classes."""

from __future__ import annotations

from .space import SearchSpace
from .task import Task
from .transfer import BACKBONES, frozen_recipe, transfer_dimensions

FLOWERS = Task(
    name="flowers",
    title="kinds of flowers",
    modality="image",
    classes=(),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="ResNet-152 frozen under a new linear classifier; resolution and rates are customary ones",
    recipe=frozen_recipe("resnet152"),
    space=SearchSpace(transfer_dimensions((*BACKBONES, "resnet152"))),
)
