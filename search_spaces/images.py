"""Any folder of class folders: the space of the fruit task, without its classes and its target."""

from __future__ import annotations

from .fruit import FRUIT
from .task import Task
from .transfer import frozen_recipe

IMAGES = Task(
    name="images",
    title="any folder of class folders",
    modality="image",
    classes=(),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="MobileNetV2 frozen, only a new linear classifier is trained: the quickest sound start",
    recipe=frozen_recipe("mobilenet_v2"),
    space=FRUIT.space,
)
