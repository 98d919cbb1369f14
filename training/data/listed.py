"""Photos that a manifest names and labels, wherever they lie below its folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from search_spaces import InputError

from .accents import composed
from .found import Contents, Found, check_all_or_no_splits, joined_split, unused_columns_note
from .listing import files_below, is_picture_name
from .manifest import Manifest
from .split_names import split_of


def listed_photos(folder: Path, manifest: Manifest) -> Contents:
    """The files of the manifest, each of which has a label there; `notes` count the pictures that it does not name.

    A photo whose line says no split is in that of the outermost folder, where this is called like one.

    Raises:
        InputError: a file is missing or outside `folder`, or the splits are not known or contradict the folders.
        OSError: a folder can't be read.
    """
    photos = []
    for path, row in manifest.rows.items():
        _check_file(folder, manifest, path)
        outermost, *inner = PurePosixPath(path).parts
        split = joined_split(manifest, row, path, (split_of(outermost) or "") if inner else "")
        photos.append(Found(path, row.label, split, row.group))
    check_all_or_no_splits(manifest, photos)
    named = {composed(path) for path in manifest.rows}
    unnamed = [
        path
        for file in files_below(folder)
        if is_picture_name(file.name) and composed(path := file.relative_to(folder).as_posix()) not in named
    ]
    notes = [unused_columns_note(manifest)]
    if unnamed:
        count = f"{len(unnamed)} photo{'s' if len(unnamed) > 1 else ''}"
        notes.append(f"not used, as {manifest.name} does not name them: {count}, such as {unnamed[0]!r}")
    grouped = any(photo.group for photo in photos)
    return Contents(photos, tuple(filter(None, notes)), grouped)


def _check_file(folder: Path, manifest: Manifest, path: str) -> None:
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or parts[:1] == ("..",):
        raise InputError(f"{manifest.name} names {path!r}, which is not below {str(folder)!r}: move it there")
    if not (folder / path).is_file():
        raise missing_file(folder, manifest, path)


def missing_file(folder: Path, manifest: Manifest, path: str) -> InputError:
    """That the manifest names a file that is not there, and where it may be meant to be."""
    hint = "correct or remove that line"
    if PurePosixPath(path).parts[0] == folder.resolve().name and (folder.resolve().parent / path).is_file():
        hint = f"paths are relative to the folder of {manifest.name}, leave {folder.resolve().name}/ out"
    return InputError(f"{manifest.name} names {path!r}, which does not exist: {hint}")
