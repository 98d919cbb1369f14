"""Data: folders of photos or drawn ones, decoded once, as splits of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search_spaces import Config, InputError, Task

from ..structure import resolution_of
from .idx import TORCHVISION, fetch_idx, is_idx, read_idx
from .layout import arrange_photos
from .photos import TRUST_SPLIT as TRUST_SPLIT
from .photos import PhotoSet as PhotoSet
from .photos import labelled_photos as labelled_photos
from .photos import read_photos as read_photos
from .photos import scan as scan
from .rendered import rendered_folder as rendered_folder
from .splits import Data as Data
from .splits import Split as Split
from .splits import Splits as Splits
from .threads import Progress

RENDERED = "rendered"


def open_data(
    source: str | Path | None,
    task: Task,
    *,
    seed: int = 0,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    progress: Progress | None = None,
) -> Data:
    """The data of a task: a folder, `rendered` or `rendered:SEED`, `torchvision:NAME`, or the task's own first source.

    `seed` decides the split of a folder that has none, or one that can't be used; `trust_split` keeps that one, and so
    does `trust-split:DIR`. `progress` counts what is drawn, then what is read.

    Raises:
        InputError: as from `scan`, the classes are not the task's, the seed of rendered data is no number, or no folder
            is named and the task has no source of its own.
    """
    if source is None:
        if not task.sources:
            raise InputError(_folder_wanted(task))
        source = task.sources[0]
    photos = _opened(source, seed, skip_unreadable, progress, trust_split)
    if task.classes and photos.classes != task.classes:
        raise InputError(
            f"task {task.name} has the classes {', '.join(task.classes)}, but {photos.source} has "
            f"{', '.join(photos.classes)}: rename the folders, or choose another task"
        )
    return photos


def open_again(
    location: str, classes: Sequence[str], *, skip_unreadable: bool = False, progress: Progress | None = None
) -> Data:
    """Data that was opened before, by its `location`; `classes` are those that it had.

    Raises:
        InputError: as from `scan`, or the classes have changed.
    """
    photos = _opened(location, 0, skip_unreadable, progress)
    if photos.classes != tuple(classes):
        raise InputError(
            f"{photos.source} had the classes {', '.join(classes)} and now has {', '.join(photos.classes)}: "
            "put them back, or name other data"
        )
    return photos


def _folder_wanted(task: Task) -> str:
    from .sources import SOURCES

    named = f" with the classes {', '.join(task.classes)}" if task.classes else ""
    fetched = f"; pomona data get {task.name} fetches one" if task.name in SOURCES else ""
    return (
        f"task {task.name} needs --data DIR: a folder of photos, DIR/<split>/<class>/ or DIR/<class>/{named}{fetched}"
    )


def _opened(
    source: str | Path, seed: int, skip_unreadable: bool, progress: Progress | None, trust_split: bool = False
) -> Data:
    if str(source).startswith(TORCHVISION):
        return read_idx(fetch_idx(str(source)), seed=seed)
    if is_idx(Path(source)):
        return read_idx(Path(source), seed=seed)
    if isinstance(source, str) and source.startswith(f"{TRUST_SPLIT}:"):
        source, trust_split = Path(source.removeprefix(f"{TRUST_SPLIT}:")), True
    name, _, drawn_seed = str(source).partition(":")
    if name != RENDERED or isinstance(source, Path):
        return scan(
            Path(source), seed=seed, skip_unreadable=skip_unreadable, trust_split=trust_split, progress=progress
        )
    if drawn_seed and not (drawn_seed.isascii() and drawn_seed.isdecimal()):
        raise InputError(f"rendered data has a whole number as its seed, as in rendered:1, not {drawn_seed!r}")
    number = int(drawn_seed or 0)
    return scan(
        rendered_folder(number, progress=progress),
        source=f"{RENDERED} (seed {number})",
        location=f"{RENDERED}:{number}",
        progress=progress,
    )


def is_folder_of_photos(source: str) -> bool:
    """Whether `source` names a folder of photos, there or not, and none of the other data that `open_data` opens."""
    return not source.startswith((RENDERED, TORCHVISION)) and not is_idx(Path(source))


def split_note(folder: Path, *, trust_split: bool = False) -> str:
    """What has to be known of a folder's split, in a line for people; empty where there is nothing.

    Raises:
        InputError: the folder is missing or laid out wrongly.
    """
    return arrange_photos(folder, trust_split=trust_split).note


def splits_for(data: Data, config: Config) -> Splits:
    """`data` at the resolution that `config` asks for."""
    return data.at(resolution_of(config))
