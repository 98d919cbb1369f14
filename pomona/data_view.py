"""What `pomona data show` shows: photos of a data set as training sees them, and how many there are of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces import IMAGES, TASKS, InputError, SearchSpace, Task, task_file, task_named
from training import Split, augment, open_data
from training.augment import STRONGEST
from training.batches import as_input, order_of, to_floats
from training.structure import resolution_of
from training.views import view_draws

from .figures import Grid, Row, picture_of

_SPLITS = ("train", "valid", "test")
# Side by side in a picture; more go below.
_BAND = 16
_FIRST_VIEW = 0


@dataclass(frozen=True, eq=False)
class DataView:
    """A data set for people: `name` of task or folder, `counts` of each class in each split, and its pictures."""

    name: str
    summary: str
    source: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    resolution: int
    strengths: tuple[int, ...]
    grid: Grid


def view_data(
    target: str,
    data: str | None = None,
    *,
    count: int = 16,
    resolution: int | None = None,
    seed: int = 0,
    split: str = "train",
    skip_unreadable: bool = False,
    trust_split: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DataView:
    """The data of a task, or of a folder of class folders, with the first `count` photos that training sees.

    The order is that of training with `seed`. Photos come at every strength of augmentation in the task's space, each
    changed as in the first epoch; those of `valid` and `test`, which are never augmented, as they are. `resolution` is
    the recipe's unless given.

    Raises:
        InputError: there is no such task, folder or split, the data are no images, or as from `open_data`.
    """
    if split not in _SPLITS:
        raise InputError(f"unknown split {split!r}: {', '.join(_SPLITS)}")
    task, source, name = _task_source_name(target, data)
    if task.modality != "image":
        raise InputError(f"task {task.name} has no images to show: its data are of the kind {task.modality!r}")
    opened = open_data(source, task, skip_unreadable=skip_unreadable, trust_split=trust_split, progress=progress)
    side = resolution or resolution_of(task.recipe)
    splits = opened.at(side)
    chosen = {"train": splits.train, "valid": splits.valid, "test": splits.test}[split]
    if chosen is None:
        raise InputError(f"{splits.source} has no split {split!r}: leave it out, or name another one")
    strengths = strengths_of(task.space) if split == "train" else (0,)
    index = order_of(len(chosen), len(chosen), seed=seed, epoch=1)[0][:count]
    title = f"{splits.source}, {split}, {side} x {side} pixels, seed {seed}"
    return DataView(
        name=name,
        summary=opened.summary(),
        source=splits.source,
        fingerprint=opened.fingerprint,
        classes=splits.classes,
        counts=opened.counts,
        resolution=side,
        strengths=strengths,
        grid=batch_grid(chosen, splits.classes, index, strengths, side, title),
    )


def strengths_of(space: SearchSpace) -> tuple[int, ...]:
    """The strengths of augmentation that a config of `space` can have, and 0."""
    dimension = space.dimensions.get("augmentation")
    if dimension is None:
        return (0,)
    return (0, *(strength for strength in range(1, STRONGEST + 1) if dimension.problem(strength) is None))


def seen_images(split: Split, index: torch.Tensor, resolution: int, strength: int) -> torch.Tensor:
    """The examples `index` as training at `strength` sees them in its first epoch, before they are normalised.

    Floats (n, C, resolution, resolution) in 0..1.
    """
    images = to_floats(split.take(index)[0], torch.device("cpu"))
    images = as_input(images, resolution, images.shape[1])
    keys = split.keys or split.names
    return augment(images, strength, view_draws([keys[i] for i in index.tolist()], _FIRST_VIEW))


def batch_grid(
    split: Split, classes: tuple[str, ...], index: torch.Tensor, strengths: tuple[int, ...], resolution: int, title: str
) -> Grid:
    """A row for each strength, one photo's copies below each other, its class above them."""
    rows = []
    for band in torch.split(index, _BAND):
        labels = [classes[int(label)] for label in split.labels[band]]
        for strength in strengths:
            images = seen_images(split, band, resolution, strength)
            first = strength == strengths[0]
            pictures = [
                picture_of(image, *([label] if first else [])) for image, label in zip(images, labels, strict=True)
            ]
            rows.append(Row(tuple(pictures), f"strength {strength}" if strength else "as they are"))
    return Grid(title, tuple(rows))


def _task_source_name(target: str, data: str | None) -> tuple[Task, str | None, str]:
    folder = Path(target)
    if folder.is_dir() and all(target != task.name for task in TASKS):
        if data is not None:
            raise InputError(f"{target!r} is a folder already: leave out --data, or name a task")
        return IMAGES, target, folder.resolve().name
    try:
        task = task_named(target)
    except InputError as problem:
        if task_file(target) is not None:
            raise
        raise InputError(f"no folder {target!r}, and {problem}") from None
    return task, data, task.name
