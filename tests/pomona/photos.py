"""A folder of tiny photos and a folder of weights, so that the command line can be run for real in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from search_spaces import FRUIT

COLOURS = [(230, 30, 30), (230, 220, 60), (240, 140, 20), (110, 20, 20), (110, 100, 30), (120, 70, 10)]


def tiny_photos(folder: Path, *, train: int = 4, valid: int = 3) -> Path:
    """A class folder of the fruit task in which every class has its colour."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("valid", valid)):
        for label, colour in zip(FRUIT.classes, COLOURS, strict=True):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(colour, 25, (40, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    return folder
