"""Data of every modality, as splits of tensors. What differs from one to the other is in `modalities`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from search_spaces import InputError, Task

from ..machine.interrupts import CheckStop, never_stop
from ..machine.threads import Progress
from .accents import composed
from .drawn.rendered import rendered_folder as rendered_folder
from .modalities import RENDERED as RENDERED
from .modalities import Kind as Kind
from .modalities import Modality as Modality
from .modalities import Reading, modality_for
from .modalities import modality_named as modality_named
from .modalities import register as register
from .modalities.modality import with_classes
from .photos import TRUST_SPLIT as TRUST_SPLIT
from .photos import PhotoSet as PhotoSet
from .photos import scan as scan
from .splits import Data as Data
from .splits import Labelled as Labelled
from .splits import Split as Split
from .splits import Splits as Splits
from .tables import GENERATED


def open_data(
    source: str | Path | None,
    task: Task,
    *,
    seed: int = 0,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    progress: Progress | None = None,
) -> Data:
    """The data of a task: a folder or file, or one of its sources, the first where `source` is None.

    A source is `rendered` or `rendered:SEED`, `torchvision:NAME`, or `generated` or `generated:SEED` for a table.
    `seed` decides the split of a folder that has none, or one that can't be used; `trust_split` keeps that one, and so
    does `trust-split:DIR`. `progress` counts what is drawn, then what is read.

    Raises:
        InputError: as from `scan`, the classes are not the task's, the metric has no value on the validation examples,
            the seed of rendered data is no number, there is no such modality, the task's space does not fit its
            columns, or no folder is named and the task has no source of its own.
    """
    kind = Kind.of(task)
    modality_named(kind.modality).check_task(task)
    if source is None:
        if not task.sources:
            raise InputError(_data_wanted(task))
        source = task.sources[0]
    else:
        _check_what_is_meant(source)
    modality = modality_for(kind.modality, source)
    data = modality.open(source, kind, Reading(seed, skip_unreadable, trust_split, progress))
    # Their order is the data's: outputs go by it, scores by names.
    if task.classes and sorted(map(composed, data.classes)) != sorted(map(composed, task.classes)):
        raise InputError(
            f"task {task.name} has the classes {', '.join(task.classes)}, but {data.source} has "
            f"{', '.join(data.classes)}: rename them, or choose another task"
        )
    modality.check_scored(data, task)
    return data


def open_again(
    location: str,
    classes: Sequence[str],
    kind: Kind | None = None,
    *,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Data:
    """Data that was opened before, by its `location`; `classes` are those that it had. Images unless `kind` says else.

    Raises:
        InputError: as from `scan`, or the classes have changed.
    """
    kind = kind or Kind()
    reading = Reading(skip_unreadable=skip_unreadable, progress=progress)
    return with_classes(modality_for(kind.modality, location).open(location, kind, reading), classes)


def open_labelled(
    source: str,
    classes: Sequence[str],
    kind: Kind,
    split: str | None,
    resolution: int,
    *,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """Examples to score a model of `classes` on: of `split`, `valid` unless given, or all where the data has no splits.

    `source` is a folder, a file or a source as in `open_data`. Nothing is divided: whether an example of data without
    splits is for training or not is up to the checkpoint that is scored. Classes may be absent from the data.

    Raises:
        InputError: the data can't be read, has a class that is none of `classes`, or has not that split.
    """
    _check_what_is_meant(source)
    reading = Reading(skip_unreadable=skip_unreadable, trust_split=trust_split, progress=progress)
    return modality_for(kind.modality, source).open_labelled(source, classes, kind, split, resolution, reading)


def splits_for(data: Data, resolution: int, check_stop: CheckStop = never_stop) -> Splits:
    """`data` with images of `resolution` pixels a side; `check_stop` is called while photos are decoded."""
    return data.at(resolution, progress=lambda _done, _total: check_stop())


def keys_of(data: Data, split: str, resolution: int) -> tuple[str, ...]:
    """`Split.keys` of a split; no photo is decoded for them."""
    if isinstance(data, PhotoSet):
        return data.keys(split)
    found = data.at(resolution).named(split)
    return () if found is None else found.keys


def shifted(splits: Splits, modality: str) -> tuple[Split, ...]:
    """The validation examples as if somebody else had brought them, in several forms; see `Modality.shifted`."""
    return modality_for(modality, splits.location).shifted(splits.valid)


def unlabelled(kind: Kind, paths: Sequence[Path], resolution: int) -> tuple[Tensor, tuple[str, ...]]:
    """Examples to be predicted, as a pool of inputs, and what to call each: image files, or what is in other files.

    Those are the lines of text files, the rows of CSV files.

    Raises:
        InputError: a file is missing, or no such file.
    """
    return modality_named(kind.modality).unlabelled(paths, kind, resolution)


def unreadable(kind: Kind, paths: Sequence[Path]) -> dict[Path, str]:
    """The files in which `unlabelled` finds no examples, each with why."""
    return modality_named(kind.modality).unreadable(paths, kind)


def _check_what_is_meant(source: str | Path) -> None:
    """Raises InputError where a name that stands for made-up data is that of a folder or file too."""
    if isinstance(source, str) and source in (RENDERED, GENERATED) and os.path.lexists(source):
        raise InputError(f"{source!r} lies here, and stands for made-up data too: write ./{source}, or {source}:0")


def _data_wanted(task: Task) -> str:
    from .published.sources import SOURCES

    fetched = f"; pomona data get {task.name} fetches one" if task.name in SOURCES else ""
    return f"task {task.name} needs {modality_named(task.modality).wanted(task)}{fetched}"
