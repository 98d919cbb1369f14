"""Data of every modality, as splits of tensors: photos, small images, tables, texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search_spaces import InputError, Task, is_numeric, positive_class

from ..machine.display import display_name
from ..machine.interrupts import CheckStop, never_stop
from ..machine.threads import Progress
from .drawn.rendered import rendered_folder as rendered_folder
from .idx import TORCHVISION, fetch_idx, is_idx, read_idx
from .photos import TRUST_SPLIT as TRUST_SPLIT
from .photos import PhotoSet as PhotoSet
from .photos import labelled_photos as labelled_photos
from .photos import read_photos as read_photos
from .photos import scan as scan
from .splits import Data as Data
from .splits import Labelled as Labelled
from .splits import Split as Split
from .splits import Splits as Splits
from .tables import GENERATED as GENERATED
from .tables import TableSet, generate_bonus, read_features, read_labelled_rows, read_table
from .texts import encode_texts, lines_of, read_labelled_texts, read_texts

RENDERED = "rendered"


@dataclass(frozen=True)
class Kind:
    """What has to be known of a task to open its data: `modality`, `columns` and `metric` as in `Task`."""

    modality: str = "image"
    columns: tuple[str, ...] = ()
    metric: str = "accuracy"

    @staticmethod
    def of(task: Task) -> Kind:
        return Kind(task.modality, task.columns, task.metric)


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
            the seed of rendered data is no number, or no folder is named and the task has no source of its own.
    """
    if source is None:
        if not task.sources:
            raise InputError(_folder_wanted(task))
        source = task.sources[0]
    data = _opened(source, Kind.of(task), seed, skip_unreadable, progress, trust_split)
    if task.classes and data.classes != task.classes:
        raise InputError(
            f"task {task.name} has the classes {', '.join(task.classes)}, but {data.source} has "
            f"{', '.join(data.classes)}: rename them, or choose another task"
        )
    _check_scored(data, task)
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
    data = _opened(location, kind or Kind(), 0, skip_unreadable, progress)
    if data.classes != tuple(classes):
        raise InputError(
            f"{data.source} had the classes {', '.join(classes)} and now has {', '.join(data.classes)}: "
            "put them back, or name other data"
        )
    return data


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
    if kind.modality != "image":
        if split == "test":
            raise InputError(f"{source} has no split 'test': leave the split out")
        return Labelled(_labelled_rows(source, classes, kind))
    if source.startswith(f"{TRUST_SPLIT}:"):
        source, trust_split = source.removeprefix(f"{TRUST_SPLIT}:"), True
    if is_folder_of_photos(source):
        return labelled_photos(
            Path(source),
            classes,
            split,
            resolution,
            skip_unreadable=skip_unreadable,
            trust_split=trust_split,
            progress=progress,
        )
    name = split or "valid"
    chosen = open_again(source, classes, kind, progress=progress).at(resolution).named(name)
    if chosen is None:
        raise InputError(f"{source} has no split {name!r}: leave the split out")
    return Labelled(chosen, name)


def _labelled_rows(source: str, classes: Sequence[str], kind: Kind) -> Split:
    if kind.modality == "text":
        return read_labelled_texts(Path(source), classes)
    if _is_generated(source):
        return _generated(source, kind).whole()
    return read_labelled_rows(Path(source), kind.columns, classes, numeric=is_numeric(kind.metric))


def _folder_wanted(task: Task) -> str:
    from .published.sources import SOURCES

    named = f" with the classes {', '.join(task.classes)}" if task.classes else ""
    fetched = f"; pomona data get {task.name} fetches one" if task.name in SOURCES else ""
    if task.modality == "text":
        return f"task {task.name} needs --data FILE: one label, a tab and a text a line{named}{fetched}"
    if task.modality == "tabular":
        return f"task {task.name} needs --data FILE: a CSV file with the columns {', '.join(task.columns)}{fetched}"
    return (
        f"task {task.name} needs --data DIR: a folder of photos, DIR/<split>/<class>/ or DIR/<class>/{named}{fetched}"
    )


def _opened(
    source: str | Path,
    kind: Kind,
    seed: int,
    skip_unreadable: bool,
    progress: Progress | None,
    trust_split: bool = False,
) -> Data:
    match kind.modality:
        case "tabular":
            return _table(source, kind, seed)
        case "text":
            return read_texts(Path(source), seed=seed)
    return _photos(source, seed, skip_unreadable, progress, trust_split)


def _table(source: str | Path, kind: Kind, seed: int) -> Data:
    if isinstance(source, str) and _is_generated(source):
        return _generated(source, kind)
    return read_table(Path(source), kind.columns, numeric=is_numeric(kind.metric), seed=seed)


def _is_generated(source: str) -> bool:
    return source.partition(":")[0] == GENERATED


def _generated(source: str, kind: Kind) -> TableSet:
    made = generate_bonus(seed=_seed_in(GENERATED, source.partition(":")[2]))
    if made.columns != kind.columns:
        raise InputError(f"generated data has the columns {', '.join(made.columns)}: name a CSV file with --data")
    return made


def _seed_in(source: str, written: str) -> int:
    if written and not (written.isascii() and written.isdecimal()):
        raise InputError(f"{source} data has a whole number as its seed, as in {source}:1, not {written!r}")
    return int(written or 0)


def _photos(source: str | Path, seed: int, skip_unreadable: bool, progress: Progress | None, trust_split: bool) -> Data:
    if str(source).startswith(TORCHVISION):
        return read_idx(fetch_idx(str(source), progress=progress), seed=seed)
    if is_idx(Path(source)):
        return read_idx(Path(source), seed=seed)
    if isinstance(source, str) and source.startswith(f"{TRUST_SPLIT}:"):
        source, trust_split = Path(source.removeprefix(f"{TRUST_SPLIT}:")), True
    name, _, drawn_seed = str(source).partition(":")
    if name != RENDERED or isinstance(source, Path):
        return scan(
            Path(source), seed=seed, skip_unreadable=skip_unreadable, trust_split=trust_split, progress=progress
        )
    number = _seed_in(RENDERED, drawn_seed)
    return scan(
        rendered_folder(number, progress=progress),
        source=f"{RENDERED} (seed {number})",
        location=f"{RENDERED}:{number}",
        progress=progress,
    )


def is_folder_of_photos(source: str) -> bool:
    """Whether `source` names a folder of photos, there or not, and none of the other data that `open_data` opens."""
    return not source.startswith((RENDERED, TORCHVISION)) and not is_idx(Path(source))


def splits_for(data: Data, resolution: int, check_stop: CheckStop = never_stop) -> Splits:
    """`data` with images of `resolution` pixels a side; `check_stop` is called while photos are decoded."""
    if isinstance(data, PhotoSet):
        return data.at(resolution, progress=lambda _done, _total: check_stop())
    return data.at(resolution)


def unlabelled(kind: Kind, paths: Sequence[Path], resolution: int) -> tuple[Tensor, tuple[str, ...]]:
    """Examples to be answered, as a pool of inputs, and what to call each: image files, or what is in other files.

    Those are the lines of text files, the rows of CSV files.

    Raises:
        InputError: a file is missing, or no such file.
    """
    match kind.modality:
        case "tabular":
            tables = [read_features(path, kind.columns[:-1]) for path in paths]
            names = [
                f"{display_name(str(path))} row {row}"
                for path, rows in zip(paths, tables, strict=True)
                for row in range(1, 1 + len(rows))
            ]
            return torch.cat(tables), tuple(names)
        case "text":
            lines = [
                (f"{display_name(str(path))} line {n}", line)
                for path in paths
                for n, line in enumerate(_lines(path), 1)
            ]
            return encode_texts([line for _, line in lines]), tuple(name for name, _ in lines)
    return read_photos(paths, resolution), tuple(display_name(str(path)) for path in paths)


def _lines(path: Path) -> list[str]:
    lines = lines_of(path)
    if lines == [""]:
        raise InputError(f"{path} is empty: one text a line")
    return lines


def _check_scored(data: Data, task: Task) -> None:
    """Raises InputError where the metric of `task` has no value on the validation examples, whatever is answered."""
    if isinstance(data, TableSet) and task.metric == "r2":
        targets = data.targets[data.rows["valid"]]
        if (targets == targets[0]).all():
            raise InputError(
                f"{data.source}: {task.columns[-1]} is {float(targets[0]):.15g} in all {len(targets)} validation rows, "
                "so R2 is not defined: add rows in which it differs"
            )
    name = positive_class(task.metric)
    if name is not None and not data.counts["valid"].get(name):
        raise InputError(
            f"{data.source}: no example of class {name!r} is among the validation examples, so F1 is not defined: "
            "add some of it"
        )
