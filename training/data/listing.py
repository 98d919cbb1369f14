"""The entries of a folder of photos, as they are: links followed, broken ones told apart, junk left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from search_spaces import InputError

# What operating systems and archives leave behind.
_JUNK = frozenset(
    ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found", "icon\r")
)
_PICTURES = ".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .avif .heic .heif .jp2 .tga"


@dataclass(frozen=True)
class Entry:
    """A file or folder, or what a link to one leads to.

    `broken`: a link that leads nowhere or can't be followed, and `problem` says why. `other`: a pipe, a device.
    """

    path: Path
    kind: Literal["folder", "file", "broken", "other"]
    problem: str = ""

    @property
    def name(self) -> str:
        return self.path.name


def entries(folder: Path) -> list[Entry]:
    """What is in `folder`, by name, without hidden entries and without what operating systems leave behind.

    Raises:
        OSError: the folder can't be read.
    """
    with os.scandir(folder) as found:
        visible = [entry for entry in found if not entry.name.startswith(".") and entry.name.casefold() not in _JUNK]
    return [_entry(folder, entry) for entry in sorted(visible, key=lambda entry: entry.name)]


def usable_entries(folder: Path) -> list[Entry]:
    """As `entries`, where each link has to lead somewhere, as there may be a class of photos behind it.

    Raises:
        InputError: a link is broken.
        OSError: the folder can't be read.
    """
    found = entries(folder)
    for entry in found:
        if entry.kind == "broken":
            raise InputError(
                f"{str(entry.path)!r} is a link that can't be followed ({entry.problem}): fix or remove it"
            )
    return found


def folders_in(folder: Path) -> list[Entry]:
    """The folders among `usable_entries`; raises as that does."""
    return [entry for entry in usable_entries(folder) if entry.kind == "folder"]


def is_picture_name(name: str) -> bool:
    """Whether a file is called like a picture."""
    return PurePath(name).suffix.lower() in _PICTURES.split()


def files_below(folder: Path) -> Iterator[Path]:
    """All files in `folder` and in the folders in it, those behind links too, each folder once.

    Raises:
        OSError: a folder can't be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        status = current.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        found = entries(current)
        yield from (entry.path for entry in found if entry.kind == "file")
        waiting += reversed([entry.path for entry in found if entry.kind == "folder"])


def _entry(folder: Path, entry: os.DirEntry[str]) -> Entry:
    path = folder / entry.name
    try:
        if entry.is_dir():
            return Entry(path, "folder")
        if entry.is_file():
            return Entry(path, "file")
        if entry.is_symlink() and not path.exists():
            return Entry(path, "broken", f"no {os.readlink(path)!r}")
    except OSError as problem:
        return Entry(path, "broken", problem.strerror or type(problem).__name__)
    return Entry(path, "other")
