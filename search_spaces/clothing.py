"""Ten kinds of clothes: the small clothing data set by Alexey Grigorev."""

from __future__ import annotations

from .space import SearchSpace
from .task import Task
from .transfer import frozen_recipe, transfer_dimensions

CLOTHING = Task(
    name="clothing",
    title="ten kinds of clothes",
    modality="image",
    classes=("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="MobileNetV2 frozen, a new classifier with an inner layer of 100 and dropout 0.2, "
    "light augmentation; resolution and rates are customary ones",
    recipe=frozen_recipe("mobilenet_v2") | {"augmentation": 1, "views": 8, "head_width": 100, "dropout": 0.2},
    space=SearchSpace(transfer_dimensions(head_widths=(0, 100, 512))),
)
