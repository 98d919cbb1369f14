"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) by a multilayer perceptron."""

from __future__ import annotations

from .perceptron import GREY_28, perceptron_dimensions
from .space import SearchSpace
from .task import Task

FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

FASHION_MLP = Task(
    name="fashion_mlp",
    title="pieces of clothing in grey, one hidden layer",
    modality="image",
    classes=FASHION_CLASSES,
    sources=("torchvision:FashionMNIST",),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="784 - 256 - 10 with ReLU, batches of 64, Adam at its own rate",
    recipe={
        "backbone": GREY_28,
        "resolution": 28,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
        "label_smoothing": 0.0,
        "head_width": 256,
        "head_layers": 1,
        "dropout": 0.0,
    },
    space=SearchSpace(perceptron_dimensions()),
)
