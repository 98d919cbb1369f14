"""Data: folders of photos or drawn ones, decoded once, as splits of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from search_spaces import Config, InputError, Task

from ..structure import resolution_of
from .photos import PhotoSet as PhotoSet
from .photos import labelled_photos as labelled_photos
from .photos import read_photos as read_photos
from .photos import scan as scan
from .rendered import rendered_folder as rendered_folder
from .splits import Split as Split
from .splits import Splits as Splits
from .threads import Progress

RENDERED = "rendered"


class Resizable(Protocol):
    """Data that can be had at several resolutions."""

    def at(self, resolution: int) -> Splits: ...


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
        InputError: as from `scan`, or the seed of rendered data is no number.
    """
    name, _, drawn_seed = str(task.sources[0] if source is None else source).partition(":")
    if name != RENDERED or isinstance(source, Path):
        assert source is not None
        return scan(Path(source), seed=seed, skip_unreadable=skip_unreadable, progress=progress)
    if drawn_seed and not drawn_seed.isdecimal():
        raise InputError(f"rendered data has a whole number as its seed, as in rendered:1, not {drawn_seed!r}")
    number = int(drawn_seed or 0)
    return scan(rendered_folder(number, progress=progress), source=f"{RENDERED} (seed {number})", progress=progress)


def splits_for(data: Resizable, config: Config) -> Splits:
    """`data` at the resolution that `config` asks for."""
    return data.at(resolution_of(config))
