"""Photos by other people of what a task tells apart.

Of fruit there is a folder of them. For three more tasks they are made of other tasks' data, which were taken by other
people, with other cameras, for other ends: CIFAR-10's cats and dogs for cats_dogs, and the other way round, and pieces
of Fashion-MNIST for clothing. Nothing is trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from search_spaces import task_named
from training import open_data

A_CLASS = 100
"""Pieces of Fashion-MNIST of each class."""
_ANIMALS = ("cat", "dog")
_PIECES = {"Dress": "dress", "Sneaker": "shoes", "T-shirt/top": "t-shirt", "Trouser": "pants"}
"""What Fashion-MNIST calls classes that the clothing task surely means too."""


def elsewhere_of(name: str, data: Path, fruit: Path, folder: Path) -> Path | None:
    """A folder of photos by others for the task `name`, without splits, or None where there are none.

    `data` holds a folder for each task, `fruit` is that of fruit; `folder` is made where it takes another one.
    """
    if name == "fruit":
        return fruit
    make = _MADE.get(name)
    if make is None:
        return None
    make(data, folder)
    return folder


def _cats_and_dogs_of(task: str) -> Callable[[Path, Path], None]:
    """Links to all cats and dogs of another task."""

    def make(data: Path, folder: Path) -> None:
        for animal in _ANIMALS:
            (folder / animal).mkdir(parents=True)
            for photo in sorted((data / task).glob(f"*/{animal}/*")):
                (folder / animal / f"{photo.parent.parent.name}-{photo.name}").symlink_to(photo.resolve())

    return make


def _clothing(data: Path, folder: Path) -> None:
    """The first pieces of four classes of Fashion-MNIST's test images: 28 x 28 pixels, grey, on black."""
    opened = open_data(data / "fashion", task_named("fashion_transfer"))
    test = opened.at(28).test
    assert test is not None
    for theirs, ours in _PIECES.items():
        (folder / ours).mkdir(parents=True)
        rows = (test.labels == opened.classes.index(theirs)).nonzero().flatten()[:A_CLASS]
        for number, pixels in enumerate(test.take(rows)[0].numpy()):
            Image.fromarray(pixels.squeeze()).save(folder / ours / f"{number}.png")


_MADE: Mapping[str, Callable[[Path, Path], None]] = {
    "cats_dogs": _cats_and_dogs_of("cifar10"),
    "clothing": _clothing,
    "cifar10": _cats_and_dogs_of("cats_dogs"),
}
TAKEN_ELSEWHERE = tuple(_MADE)
"""The tasks whose photos by others are other tasks' data."""
