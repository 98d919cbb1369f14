"""The labelled files that a folder of photos turns out to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces import InputError

from .manifest import Manifest, Row
from .split_names import SPLITS, split_of


@dataclass(frozen=True)
class Found:
    """A file that has a label; `path` is relative to the folder, `split` and `group` are empty where not given."""

    path: str
    label: str
    split: str
    group: str


@dataclass(frozen=True)
class Contents:
    """The files of a folder that have a label. `notes` name what else is there and is not used, a line each.

    `grouped`: which photos show one thing is for the manifest to say, and nothing is concluded from their names.
    """

    photos: list[Found]
    notes: tuple[str, ...] = ()
    grouped: bool = False


def joined_split(manifest: Manifest, row: Row, path: str, by_folder: str) -> str:
    """The split of the photo at `path` by its `row` of the manifest and by its folder, either of which may be silent.

    Raises:
        InputError: they contradict each other, or the manifest names none that there is.
    """
    split = split_of(row.split) if row.split else ""
    if split is None:
        raise InputError(f"{manifest.name} puts {path!r} into split {row.split!r}: there is {', '.join(SPLITS)}")
    if by_folder and split not in ("", by_folder):
        raise InputError(f"{manifest.name} puts {path!r} into split {split!r}, but its folder says {by_folder!r}")
    return by_folder or split


def check_all_or_no_splits(manifest: Manifest, photos: Sequence[Found]) -> None:
    """Raises InputError where some photos have a split and others none."""
    without = [photo.path for photo in photos if not photo.split]
    if without and len(without) < len(photos):
        raise InputError(f"{manifest.name} names the split of some photos but not of {without[0]!r}: name all or none")


def unused_columns_note(manifest: Manifest) -> str:
    if not manifest.unused:
        return ""
    names = ", ".join(map(repr, manifest.unused))
    return f"{manifest.name} has columns that are not used: {names}"


def examples_of(names: Sequence[str]) -> str:
    """The first three names, and how many there are beyond them."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
