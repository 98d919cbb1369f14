"""What a folder of photos says about them by its layout, its manifest and their names. Opens no photo."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from search_spaces import InputError

from .variants import groups_by_name, is_variant, leaks

MANIFEST = "manifest.csv"
SPLITS = ("train", "valid", "test")
_SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Found:
    """A file in a class folder; `path` is relative to the folder, `split` and `group` are empty where not given."""

    path: str
    label: str
    split: str
    group: str


@dataclass(frozen=True)
class Arranged:
    """The files of a folder, grouped; `note` says what has to be known of their split, in one line, or nothing.

    `anew`: the folder's split can't be used, and is taken away here. `trusted`: it can't either, and is kept.
    """

    photos: list[Found]
    anew: bool = False
    trusted: bool = False
    note: str = ""


def arrange_photos(folder: Path, *, trust_split: bool = False) -> Arranged:
    """As `find_photos`, and where there is no manifest altered copies are one group with their original, by name.

    Where copies of one photo are in several splits, the split is taken away, or with `trust_split` kept: the groups
    then end at its borders.

    Raises:
        InputError: as from `find_photos`.
    """
    found = find_photos(folder)
    if (folder / MANIFEST).is_file():
        return Arranged(found)
    names, splits = [PurePosixPath(photo.path).name for photo in found], [photo.split for photo in found]
    groups = groups_by_name(names, [photo.label for photo in found], splits)
    photos = [replace(photo, group=group) for photo, group in zip(found, groups, strict=True)]
    leaking = leaks(groups, splits, ("", *SPLITS))
    if not leaking:
        return Arranged(photos)
    sizes = Counter(photo.split for photo in photos)
    present = [split for split in SPLITS if sizes[split]]
    cost = ", ".join(
        f"{count} of {sizes[split]} {split} photos have a copy in {' or '.join(present[: present.index(split)])}"
        for split, count in leaking.items()
    )
    if trust_split:
        scoped = [replace(p, group=f"{p.split}/{p.group}" if p.group else "") for p in photos]
        return Arranged(scoped, trusted=True, note=f"the folder's split is kept, though {cost}: figures are too good")
    example = next(name for name, group in zip(names, groups, strict=True) if group and is_variant(name))
    note = f"divided anew by original, as {cost} (altered, like {example!r}): --trust-split keeps the folder's split"
    return Arranged([replace(photo, split="") for photo in photos], anew=True, note=note)


def find_photos(folder: Path) -> list[Found]:
    """Files of `DIR/<split>/<class>/` or `DIR/<class>/`, with what `DIR/manifest.csv` says of them.

    Hidden files are left out; that the others are pictures is not checked.

    Raises:
        InputError: the folder is missing, empty or laid out otherwise, or contradicts its manifest.
    """
    if not folder.exists():
        raise InputError(f"no folder {str(folder)!r}: give the folder that holds train/, or the class folders")
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file: give the folder that holds train/, or the class folders")
    try:
        found = [photo for name, path in _split_folders(folder) for photo in _photos_of(folder, path, name)]
        if not found:
            raise InputError(
                f"no class folders in {str(folder)!r}: give the folder that holds train/, or class folders"
            )
        return _with_manifest(folder, found)
    except PermissionError as problem:
        raise InputError(f"cannot read {problem.filename!r}: {problem.strerror}") from None


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _split_folders(folder: Path) -> list[tuple[str, Path]]:
    """Folders that hold class folders, each with its split; the folder itself, without one, where it has no splits."""
    splits: dict[str, Path] = {}
    for path in _visible(folder):
        # A folder called "train" without folders in it is a class of locomotives.
        if path.name in _SPLIT_NAMES and path.is_dir() and any(child.is_dir() for child in _visible(path)):
            split = _SPLIT_NAMES[path.name]
            if split in splits:
                raise InputError(f"{splits[split].name}/ and {path.name}/ in {str(folder)!r} mean the same: keep one")
            splits[split] = path
    if splits and "train" not in splits:
        raise InputError(f"{str(folder)!r} has {', '.join(p.name for p in splits.values())} but no train/: add it")
    return list(splits.items()) or [("", folder)]


def _photos_of(root: Path, folder: Path, split: str) -> Iterable[Found]:
    for class_folder in _visible(folder):
        if not class_folder.is_dir():
            continue
        where = class_folder.relative_to(root).as_posix()
        files = _visible(class_folder)
        for file in files:
            if file.is_dir():
                raise InputError(f"{where!r} in {str(root)!r} holds folders: photos must lie directly in class folders")
            yield Found(f"{where}/{file.name}", class_folder.name, split, "")
        if not files:
            raise InputError(f"class folder {where!r} in {str(root)!r} is empty: add photos or remove it")


def _with_manifest(folder: Path, found: list[Found]) -> list[Found]:
    rows = _manifest(folder / MANIFEST)
    by_path = {photo.path: photo for photo in found}
    for path, row in rows.items():
        if path not in by_path:
            exists = (folder / path).is_file()
            what = "is in no class folder" if exists else "does not exist"
            raise InputError(f"{MANIFEST} names {path!r}, which {what}: correct or remove that line")
        photo, split = by_path[path], _SPLIT_NAMES.get(row["split"], row["split"])
        if row["label"] not in ("", photo.label):
            raise InputError(f"{MANIFEST} calls {path!r} {row['label']!r}, but its folder says {photo.label!r}")
        if split not in ("", *SPLITS):
            raise InputError(f"{MANIFEST} puts {path!r} into split {split!r}: there is {', '.join(SPLITS)}")
        if photo.split and split not in ("", photo.split):
            raise InputError(f"{MANIFEST} puts {path!r} into split {split!r}, but its folder says {photo.split!r}")
        by_path[path] = Found(path, photo.label, photo.split or split, row["group"])
    photos = list(by_path.values())
    without = [photo.path for photo in photos if not photo.split]
    if without and len(without) < len(photos):
        raise InputError(f"{MANIFEST} names the split of some photos but not of {without[0]!r}: name all or none")
    return photos


def _manifest(path: Path) -> dict[str, dict[str, str]]:
    """Rows by path, each with `label`, `split` and `group`, empty where the file does not say."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "path" not in (reader.fieldnames or ()):
                raise InputError(f"{str(path)!r} has no column 'path': its first line must be path,label,split,group")
            rows: dict[str, dict[str, str]] = {}
            for row in reader:
                name = str(PurePosixPath((row["path"] or "").strip()))
                if name in rows:
                    raise InputError(f"{MANIFEST} names {name!r} twice: keep one line")
                rows[name] = {key: (row.get(key) or "").strip() for key in ("label", "split", "group")}
            return rows
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{str(path)!r} is no table in UTF-8: {problem}") from None
