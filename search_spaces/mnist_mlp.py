"""Handwritten digits by a multilayer perceptron, as in the first notebook of many courses."""

from __future__ import annotations

from .perceptron import GREY_28, perceptron_dimensions
from .space import SearchSpace
from .task import Task

MNIST_MLP = Task(
    name="mnist_mlp",
    title="handwritten digits, two hidden layers",
    modality="image",
    classes=tuple("0123456789"),
    sources=("torchvision:MNIST",),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="784 - 512 - 512 - 10 with ReLU, batches of 64, Adam at its own rate",
    recipe={
        "backbone": GREY_28,
        "resolution": 28,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
        "label_smoothing": 0.0,
        "head_width": 512,
        "head_layers": 2,
        "dropout": 0.0,
    },
    space=SearchSpace(perceptron_dimensions()),
)
