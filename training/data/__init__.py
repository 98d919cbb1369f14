"""Data: folders of photos or drawn ones, decoded once, as splits of tensors."""

from __future__ import annotations

from pathlib import Path

from search_spaces import Config, InputError, Task

from ..structure import resolution_of
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
    progress: Progress | None = None,
) -> PhotoSet:
    """The data of a task: a folder, `rendered` or `rendered:SEED`, or the task's own first source.

    `seed` decides the split of a folder that has none. `progress` counts what is drawn, then what is read.

    Raises:
        InputError: as from `scan`, the classes are not the task's, or the seed of rendered data is no number.
    """
    photos = _opened(task.sources[0] if source is None else source, seed, skip_unreadable, progress)
    if task.classes and photos.classes != task.classes:
        raise InputError(
            f"task {task.name} has the classes {', '.join(task.classes)}, but {photos.source} has "
            f"{', '.join(photos.classes)}: rename the folders, or choose another task"
        )
    return photos


def _opened(source: str | Path, seed: int, skip_unreadable: bool, progress: Progress | None) -> PhotoSet:
    name, _, drawn_seed = str(source).partition(":")
    if name != RENDERED or isinstance(source, Path):
        return scan(Path(source), seed=seed, skip_unreadable=skip_unreadable, progress=progress)
    if drawn_seed and not (drawn_seed.isascii() and drawn_seed.isdecimal()):
        raise InputError(f"rendered data has a whole number as its seed, as in rendered:1, not {drawn_seed!r}")
    number = int(drawn_seed or 0)
    return scan(
        rendered_folder(number, progress=progress),
        source=f"{RENDERED} (seed {number})",
        location=f"{RENDERED}:{number}",
        progress=progress,
    )


def splits_for(data: Data, config: Config) -> Splits:
    """`data` at the resolution that `config` asks for."""
    return data.at(resolution_of(config))
