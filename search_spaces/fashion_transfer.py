"""Fashion-MNIST on a pretrained backbone: feature extraction against fine-tuning."""

from __future__ import annotations

from .dimensions import Choice
from .fashion_mlp import FASHION_CLASSES
from .space import SearchSpace
from .task import Task
from .transfer import BACKBONES, frozen_recipe, transfer_dimensions

FASHION_TRANSFER = Task(
    name="fashion_transfer",
    title="pieces of clothing in grey, enlarged, on a pretrained backbone",
    modality="image",
    classes=FASHION_CLASSES,
    sources=("torchvision:FashionMNIST",),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="VGG16 frozen under one linear layer, against fine-tuning it; all else is customary",
    recipe=frozen_recipe("vgg16") | {"resolution": 64},
    # Enlarging 28 pixels further than this shows a backbone nothing new.
    space=SearchSpace(transfer_dimensions((*BACKBONES, "vgg16")) | {"resolution": Choice(32, 64, 96)}),
)
