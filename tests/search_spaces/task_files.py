"""Task files as users write them."""

from __future__ import annotations

BIRDS = """\
from dataclasses import replace

from search_spaces import FRUIT, Choice

BIRDS = replace(
    FRUIT,
    name="birds",
    title="birds by the look of fruit",
    sources=(),
    target=None,
    recipe=FRUIT.recipe | {"backbone": "squeezenet1_1", "resolution": 96, "batch_size": 16},
    space=FRUIT.space.replace(backbone=Choice("squeezenet1_1"), resolution=Choice(96)),
)
"""
