"""Fashion-MNIST by a small convolutional network whose shape is searched."""

from __future__ import annotations

from .dimensions import Choice, Float, Integer
from .fashion_mlp import FASHION_CLASSES
from .space import SearchSpace
from .task import Task

_NETWORK = "cnn:1x28x28"

FASHION_CNN = Task(
    name="fashion_cnn",
    title="pieces of clothing in grey, a small convolutional network",
    modality="image",
    classes=FASHION_CLASSES,
    sources=("torchvision:FashionMNIST",),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="two blocks of convolutions under a dense layer, dropout, batches of 64, Adam at its own rate",
    recipe={
        "backbone": _NETWORK,
        "resolution": 28,
        "conv_blocks": 2,
        "conv_channels": 32,
        "conv_kernel": 3,
        "conv_norm": "none",
        "batch_size": 64,
        "augmentation": 0,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
        "label_smoothing": 0.0,
        "head_width": 128,
        "dropout": 0.2,
    },
    space=SearchSpace(
        {
            "backbone": Choice(_NETWORK),
            "resolution": Choice(28),
            "conv_blocks": Integer(1, 3),
            "conv_channels": Choice(16, 32, 64),
            "conv_kernel": Choice(3, 5),
            "conv_norm": Choice("batch", "none"),
            "batch_size": Choice(64, 128, 256),
            # Views of their own in every epoch: nothing of this network is frozen, so nothing could be shared.
            "augmentation": Integer(0, 2),
            "optimizer": Choice("sgd", "adamw"),
            "momentum": Float(0.8, 0.98).when("optimizer", ("sgd",)),
            "learning_rate": Float(1e-4, 1e-1, log=True),
            "weight_decay": Float(1e-6, 1e-1, log=True),
            "label_smoothing": Float(0.0, 0.2),
            "head_width": Choice(0, 128, 256),
            "dropout": Choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        }
    ),
)
