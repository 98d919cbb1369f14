"""What tasks have in common whose model is nothing but hidden layers on pixels."""

from __future__ import annotations

from .dimensions import Choice, Dimension, Float

GREY_28 = "pixels:1x28x28"


def perceptron_dimensions() -> dict[str, Dimension]:
    """One or two hidden layers of one width on grey images of 28 pixels a side."""
    return {
        "backbone": Choice(GREY_28),
        "resolution": Choice(28),
        "batch_size": Choice(32, 64, 128, 256),
        "optimizer": Choice("sgd", "adamw"),
        "momentum": Float(0.8, 0.98).when("optimizer", ("sgd",)),
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "label_smoothing": Float(0.0, 0.2),
        "head_width": Choice(64, 128, 256, 512, 1024),
        "head_layers": Choice(1, 2),
        "dropout": Choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    }
