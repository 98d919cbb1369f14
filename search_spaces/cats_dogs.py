"""Cats and dogs, two classes: a sample of Kaggle's competition, or any folder with these two classes."""

from __future__ import annotations

from .space import SearchSpace
from .task import Task
from .transfer import frozen_recipe, transfer_dimensions

CATS_DOGS = Task(
    name="cats_dogs",
    title="cats and dogs",
    modality="image",
    classes=("cat", "dog"),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="ResNet-50 frozen, only a new linear classifier (2048 to 2) is trained; "
    "resolution and rates are customary ones",
    recipe=frozen_recipe("resnet50"),
    space=SearchSpace(transfer_dimensions()),
)
