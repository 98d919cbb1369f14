"""Fresh or rotten: apples, bananas and oranges, six classes.

The task is the final assessment of NVIDIA's course "Fundamentals of Deep Learning", whose source notebook stopped at
91.79 % where 92 % is the pass mark.
"""

from __future__ import annotations

from .dimensions import Choice, Float, Integer
from .space import SearchSpace
from .task import Target, Task

UNFROZEN = (1, 2, 3, 4, 5)

FRUIT = Task(
    name="fruit",
    title="fresh or rotten fruit, six classes",
    modality="image",
    classes=("freshapples", "freshbanana", "freshoranges", "rottenapples", "rottenbanana", "rottenoranges"),
    sources=("rendered",),
    metric="accuracy",
    direction="maximize",
    target=Target(
        0.92,
        "pass mark of the assessment; its validation set has 329 photos, so 303 right pass by count, "
        "while only 313 right put the 95 % lower bound above 92 %",
    ),
    recipe_origin="VGG16 frozen under a new fully connected classifier, then everything unfrozen for a few epochs "
    "at a very low rate",
    recipe={
        "backbone": "vgg16",
        "resolution": 224,
        "batch_size": 32,
        "augmentation": 2,
        "views": 8,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-5,
        "label_smoothing": 0.0,
        "head_width": 512,
        "dropout": 0.2,
        "unfrozen_stages": 5,
        "fine_tune_share": 0.25,
        "fine_tune_rate": 0.01,
        "batch_norm": "pretrained",
    },
    space=SearchSpace(
        {
            # In order of preference: the first whose weights are at hand stands in for the recipe's.
            "backbone": Choice(
                "timm:tf_efficientnet_lite0",
                "mobilenet_v2",
                "efficientnet_b0",
                "resnet18",
                "resnet50",
                "convnext_tiny",
                "vgg16",
                "mobilenet_v3_small",
                "squeezenet1_1",
            ),
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
            # Width of the hidden layer of the new classifier; 0 is one linear layer.
            "head_width": Choice(0, 128, 512),
            # In steps, like the augmentation: heads of one rate share the holes in their inputs.
            "dropout": Choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
            "unfrozen_stages": Integer(0, 5),
            "fine_tune_share": Choice(0.25, 0.5, 0.75).when("unfrozen_stages", UNFROZEN),
            "fine_tune_rate": Float(1e-3, 1.0, log=True).when("unfrozen_stages", UNFROZEN),
            # Whose statistics the unfrozen stages go by.
            "batch_norm": Choice("pretrained", "batch").when("unfrozen_stages", UNFROZEN),
        }
    ),
)
