"""Short messages: spam or not."""

from __future__ import annotations

from .dimensions import Choice, Float, Integer
from .space import SearchSpace
from .task import Target, Task

_BAG, _ENCODER = "bag:320", "encoder:320"

SMS_SPAM = Task(
    name="sms_spam",
    title="short messages, spam or not",
    modality="text",
    classes=("ham", "spam"),
    sources=(),
    metric="f1:spam",
    direction="maximize",
    target=Target(0.95, "what careful bags of words reach on the UCI SMS Spam Collection"),
    recipe_origin="embeddings of the words, their mean, and a linear layer; widths and rates are customary ones",
    recipe={
        "backbone": _BAG,
        "ngram_words": 1,
        "ngram_chars": 0,
        "buckets": 16384,
        "embedding_width": 32,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
        "label_smoothing": 0.0,
        "head_width": 0,
        "dropout": 0.0,
    },
    space=SearchSpace(
        {
            "backbone": Choice(_BAG, _ENCODER),
            # Orders up to this; 0 is none.
            "ngram_words": Integer(0, 2).when("backbone", (_BAG,)),
            "ngram_chars": Choice(0, 3, 4, 5).when("backbone", (_BAG,)),
            "encoder_layers": Choice(1, 2).when("backbone", (_ENCODER,)),
            "buckets": Choice(4096, 16384, 65536),
            "embedding_width": Choice(8, 16, 32, 64),
            "batch_size": Choice(16, 32, 64, 128),
            # SGD moves rows of an embedding only when their n-gram comes by: in ten epochs it learns nothing.
            "optimizer": Choice("adamw", on_request=("sgd",)),
            "momentum": Float(0.8, 0.98).when("optimizer", ("sgd",)),
            "learning_rate": Float(1e-4, 1e-1, log=True),
            "weight_decay": Float(1e-6, 1e-1, log=True),
            "label_smoothing": Float(0.0, 0.2),
            "head_width": Choice(0, 16, 64),
            "dropout": Choice(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        }
    ),
)
