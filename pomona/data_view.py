"""What `pomona data show` shows: examples as training sees them, and how many there are of each class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces import IMAGES, TASKS, InputError, SearchSpace, Task, task_file, task_named
from training import augment, open_data, resolve
from training.data import modality_named
from training.data.augment import STRONGEST
from training.data.batches import as_input, order_of
from training.data.previews import Lines, Numbers, Pictures
from training.frozen.views import view_random_numbers
from training.machine.display import display_name

from .figures import Grid, Listing, Panels, Row, Shown, picture_of

_SPLITS = ("train", "valid", "test")
# Side by side in a picture; more go below.
_BAND = 16
_FIRST_VIEW = 0


@dataclass(frozen=True, eq=False)
class DataView:
    """A data set for people: `name` of task or folder, `counts` of each class in each split, and what is drawn of it.

    Only images have a `resolution` and `strengths`, only tables `columns`.
    """

    name: str
    summary: str
    source: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    resolution: int | None
    strengths: tuple[int, ...]
    columns: tuple[str, ...]
    shown: Shown


def view_data(
    target: str,
    data: str | None = None,
    *,
    count: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    split: str = "train",
    skip_unreadable: bool = False,
    trust_split: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DataView:
    """The data of a task, or of a folder of class folders, with the first `count` examples that training sees.

    The order is that of training with `seed`. Photos come at every strength of augmentation in the task's space, each
    changed as in the first epoch; those of `valid` and `test`, which are never augmented, as they are. `resolution` is
    the recipe's unless given. Texts are lines, of a table the target is drawn against each feature. Of photos 16 are
    shown unless `count` is given, of texts 32, and 500 rows.

    Raises:
        InputError: there is no such task, folder or split, the count or the resolution don't suit the data, or as from
            `open_data`.
    """
    if split not in _SPLITS:
        raise InputError(f"unknown split {split!r}: {', '.join(_SPLITS)}")
    task, source, name = _task_source_name(target, data)
    modality = modality_named(task.modality)
    usual, most = modality.preview_size
    if count is not None and count > most:
        raise InputError(f"at most {most} examples of task {task.name} are shown at once, not {count}")
    if not modality.has_resolution and resolution is not None:
        raise InputError(f"task {task.name} has no images: leave out --resolution")
    opened = open_data(source, task, skip_unreadable=skip_unreadable, trust_split=trust_split, progress=progress)
    side = resolution or resolve(task, task.recipe).input.resolution
    splits = opened.at(side)
    chosen = splits.named(split)
    if chosen is None:
        raise InputError(f"{splits.source} has no split {split!r}: leave it out, or name another one")
    index = order_of(len(chosen), len(chosen), seed=seed, epoch=1)[0][: count or usual]
    strengths: tuple[int, ...] = ()
    match modality.preview(chosen, index, splits.classes, task.columns):
        case Pictures() as pictures:
            strengths = strengths_of(task.space) if split == "train" else (0,)
            title = f"{splits.source}, {split}, {side} x {side} pixels, seed {seed}"
            labels = [splits.classes[label] for label in chosen.labels[index].tolist()]
            shown: Shown = batch_grid(pictures, labels, strengths, side, title)
        case preview:
            title = f"{splits.source}, {split}, {len(index)} of {len(chosen)} {modality.noun}, seed {seed}"
            shown = _listed(preview, splits.classes, title)
    return DataView(
        name=name,
        summary=opened.summary(),
        source=splits.source,
        fingerprint=opened.fingerprint,
        classes=splits.classes,
        counts=opened.counts,
        resolution=side if modality.has_resolution else None,
        strengths=strengths,
        columns=task.columns,
        shown=shown,
    )


def strengths_of(space: SearchSpace) -> tuple[int, ...]:
    """The strengths of augmentation that a config of `space` can have, and 0."""
    dimension = space.dimensions.get("augmentation")
    if dimension is None:
        return (0,)
    return (0, *(strength for strength in range(1, STRONGEST + 1) if dimension.problem(strength) is None))


def seen_images(pictures: Pictures, resolution: int, strength: int) -> torch.Tensor:
    """`pictures` as training at `strength` sees them in its first epoch, before they are normalised.

    Floats (n, C, resolution, resolution) in 0..1.
    """
    images = as_input(pictures.images, resolution, pictures.images.shape[1])
    return augment(images, strength, view_random_numbers(list(pictures.keys), _FIRST_VIEW))


def batch_grid(
    pictures: Pictures, labels: Sequence[str], strengths: tuple[int, ...], resolution: int, title: str
) -> Grid:
    """A row for each strength, one photo's copies below each other, its class above them."""
    rows = []
    for start in range(0, len(labels), _BAND):
        band = slice(start, start + _BAND)
        for strength in strengths:
            images = seen_images(Pictures(pictures.images[band], pictures.keys[band]), resolution, strength)
            first = strength == strengths[0]
            row = [
                picture_of(image, *([label] if first else []))
                for image, label in zip(images, labels[band], strict=True)
            ]
            rows.append(Row(tuple(row), f"strength {strength}" if strength else "as they are"))
    return Grid(title, tuple(rows))


def _listed(preview: Lines | Numbers, classes: tuple[str, ...], title: str) -> Listing | Panels:
    match preview:
        case Lines(headings, rows):
            return Listing(title, headings, rows)
        case Numbers():
            return row_panels(preview, classes, title)


def row_panels(numbers: Numbers, classes: tuple[str, ...], title: str) -> Panels:
    """The target against each feature."""
    if numbers.left_out:
        shown = len(numbers.names) - 1
        title = f"{title}, the first {shown} of {shown + numbers.left_out} features"
    return Panels(
        title=title,
        names=numbers.names,
        classes=classes,
        features=numbers.features,
        target=numbers.target,
        targets=numbers.targets,
    )


def _task_source_name(target: str, data: str | None) -> tuple[Task, str | None, str]:
    folder = Path(target)
    if os.path.isdir(folder) and all(target != task.name for task in TASKS):
        if data is not None:
            raise InputError(f"{target!r} is a folder already: leave out --data, or name a task")
        return IMAGES, os.path.join(os.curdir, target), display_name(folder.resolve().name)
    try:
        task = task_named(target)
    except InputError as problem:
        if task_file(target) is not None:
            raise
        raise InputError(f"no folder {target!r}, and {problem}") from None
    return task, data, task.name
