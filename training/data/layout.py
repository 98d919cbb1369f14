"""What a folder of photos says about them by its layout, its manifest and their names. Opens no photo."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from search_spaces import InputError

from .class_folders import has_classes, photos_in_class_folders
from .found import Contents
from .found import Found as Found
from .listed import listed_photos
from .manifest import MANIFEST as MANIFEST
from .manifest import read_manifest
from .split_names import SPLITS as SPLITS
from .variants import groups_by_name, is_variant, leaks


@dataclass(frozen=True)
class Arranged:
    """The files of a folder, grouped; `note` says what has to be known of them, in one line, or nothing.

    `anew`: the folder's split can't be used, and is taken away here. `trusted`: it can't either, and is kept.
    """

    photos: list[Found]
    anew: bool = False
    trusted: bool = False
    note: str = ""


def arrange_photos(folder: Path, *, trust_split: bool = False, to_train: bool = True) -> Arranged:
    """As `find_photos`, and where no manifest says otherwise altered copies are one group with their original, by name.

    Where copies of one photo are in several splits, the split is taken away, or with `trust_split` kept: the groups
    then end at its borders.

    Raises:
        InputError: as from `find_photos`.
    """
    contents = find_photos(folder, to_train=to_train)
    found, unused = contents.photos, "; ".join(contents.notes)
    if contents.grouped:
        return Arranged(found, note=unused)
    names, splits = [PurePosixPath(photo.path).name for photo in found], [photo.split for photo in found]
    groups = groups_by_name(names, [photo.label for photo in found], splits)
    photos = [replace(photo, group=group) for photo, group in zip(found, groups, strict=True)]
    leaking = leaks(groups, splits, ("", *SPLITS))
    if not leaking:
        return Arranged(photos, note=unused)
    sizes = Counter(photo.split for photo in photos)
    present = [split for split in SPLITS if sizes[split]]
    cost = ", ".join(
        f"{count} of {sizes[split]} {split} photos have a copy in {' or '.join(present[: present.index(split)])}"
        for split, count in leaking.items()
    )
    if trust_split:
        scoped = [replace(p, group=f"{p.split}/{p.group}" if p.group else "") for p in photos]
        note = f"the folder's split is kept, though {cost}: figures are too good"
        return Arranged(scoped, trusted=True, note="; ".join(filter(None, (note, unused))))
    example = next(name for name, group in zip(names, groups, strict=True) if group and is_variant(name))
    note = f"divided anew by original, as {cost} (altered, like {example!r}): --trust-split keeps the folder's split"
    anew = [replace(photo, split="") for photo in photos]
    return Arranged(anew, anew=True, note="; ".join(filter(None, (note, unused))))


def find_photos(folder: Path, *, to_train: bool = True) -> Contents:
    """The files of `DIR/<split>/<class>/` or `DIR/<class>/`, with what `DIR/manifest.csv` says of them.

    Where the manifest labels photos that are not in class folders, the files that it names instead, wherever they lie
    below `DIR`; their split is that of the manifest or of the outermost folder. Splits have the names that `split_of`
    knows. Hidden files and what operating systems leave behind are left out; that the others are pictures is not
    checked. Labels are the `display_name` of what they are called.

    Raises:
        InputError: the folder is missing, empty or laid out otherwise, part of it can't be read, it contradicts its
            manifest, or it is `to_train` on and has folders of other splits only.
    """
    try:
        if not folder.exists():
            raise InputError(f"no folder {str(folder)!r}: give the folder that holds train/, or the class folders")
        if not folder.is_dir():
            raise InputError(f"{str(folder)!r} is a file: give the folder that holds train/, or the class folders")
        manifest = read_manifest(folder)
        if manifest.labels_all and not has_classes(folder, manifest):
            return listed_photos(folder, manifest)
        return photos_in_class_folders(folder, manifest, to_train=to_train)
    except OSError as problem:
        raise InputError(f"cannot read {problem.filename or str(folder)!r}: {problem.strerror or problem}") from None
