"""The dimensions of transfer learning: a pretrained backbone under a new head, for every task of photos."""

from __future__ import annotations

from collections.abc import Sequence

from .dimensions import Choice, Config, Dimension, Float, Integer

# In order of preference: the first whose weights are available locally stands in for the recipe's.
BACKBONES = (
    "timm:tf_efficientnet_lite0",
    "mobilenet_v2",
    "efficientnet_b0",
    "resnet18",
    "resnet50",
    "convnext_tiny",
    "mobilenet_v3_small",
    "squeezenet1_1",
)
_UNFROZEN = (1, 2, 3, 4, 5)


def transfer_dimensions(
    backbones: Sequence[str] = BACKBONES, *, head_widths: Sequence[int] = (0, 128, 512)
) -> dict[str, Dimension]:
    """The dimensions by name, in the order of a space.

    Args:
        backbones: in order of preference, as in `BACKBONES`.
        head_widths: of the hidden layer of the new classifier; 0 is one linear layer.
    """
    return {
        "backbone": Choice(*backbones),
        "resolution": Choice(96, 128, 160, 224),
        "batch_size": Choice(16, 32, 64),
        # Steps of one dial, so that trials meet on the same work; 0 is none.
        "augmentation": Integer(0, 4),
        # How many augmented views of a photo take turns; 0 is a new one in every epoch, which nothing can share.
        "views": Choice(2, 4, 8, on_request=(0,)).when("augmentation", (1, 2, 3, 4)),
        "optimizer": Choice("sgd", "adamw"),
        "momentum": Float(0.8, 0.98).when("optimizer", ("sgd",)),
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "label_smoothing": Float(0.0, 0.2),
        "head_width": Choice(*head_widths),
        # In steps, like the augmentation: heads of one rate share the holes in their inputs.
        "dropout": Choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        "unfrozen_stages": Integer(0, 5),
        "fine_tune_share": Choice(0.25, 0.5, 0.75).when("unfrozen_stages", _UNFROZEN),
        "fine_tune_rate": Float(1e-3, 1.0, log=True).when("unfrozen_stages", _UNFROZEN),
        # Whose statistics the unfrozen stages go by.
        "batch_norm": Choice("pretrained", "batch").when("unfrozen_stages", _UNFROZEN),
    }


def frozen_recipe(backbone: str, resolution: int = 224) -> Config:
    """A frozen backbone under one linear layer: what the sources of most tasks do.

    Resolution, batch size, optimizer and rate are the customary ones.
    """
    return {
        "backbone": backbone,
        "resolution": resolution,
        "batch_size": 32,
        "augmentation": 0,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-5,
        "label_smoothing": 0.0,
        "head_width": 0,
        "dropout": 0.0,
        "unfrozen_stages": 0,
    }
