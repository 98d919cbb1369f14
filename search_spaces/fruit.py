"""Fresh or rotten: apples, bananas and oranges, six classes.

The task is the final assessment of NVIDIA's course "Fundamentals of Deep Learning", whose source notebook stopped at
91.79 % where 92 % is the pass mark.
"""

from __future__ import annotations

from .space import SearchSpace
from .task import Target, Task
from .transfer import transfer_dimensions

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
        transfer_dimensions(
            (
                "timm:tf_efficientnet_lite0",
                "mobilenet_v2",
                "efficientnet_b0",
                "resnet18",
                "resnet50",
                "convnext_tiny",
                "vgg16",
                "mobilenet_v3_small",
                "squeezenet1_1",
            )
        )
    ),
)
