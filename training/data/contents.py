"""What the files of a folder hold: their digests, and whether they are pictures. Remembered between starts."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL

from ..machine.cache import cache_folder, without_cache
from ..machine.decode import DecodeError, decoded
from ..machine.digest import DIGEST, is_whole, note, sealed
from ..machine.files import WriteError, atomic_write_bytes, json_text
from ..machine.threads import Progress, in_threads
from .pictures import examined

SETTLED_NS = 2_000_000_000
"""A file is remembered when its last change is this long ago: a second change might not show in its times before."""
# What is a picture, and of which digest: Pillow's version, and ours.
_READER = f"{PIL.__version__}, 3"


@dataclass(frozen=True)
class Content:
    """`digest` is the sha256 of a file's bytes, and of one with grey values of more than eight bits, unless they fill
    16, a point and how they are read: two files of one digest give the same pixels. `problem` is why it is no picture,
    None where it is one."""

    digest: str
    problem: str | None


_Stamp = tuple[int, int, int]


class ContentIndex:
    """The contents of files below one folder, as known from the last time and as they are now."""

    def __init__(self, root: Path) -> None:
        self._root = root
        name = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self._path = cache_folder("contents") / f"{name}.json"
        self._known = self._load()
        self._seen: dict[str, tuple[_Stamp, Content]] = {}

    def examine(
        self, paths: Sequence[str], *, workers: int | None = None, progress: Progress | None = None
    ) -> list[Content]:
        """Contents of the files at `paths` (relative), read and decoded only where they changed since last time."""
        stamps = {path: self._stamp(path) for path in paths}
        self._seen = {p: known for p in paths if (known := self._known.get(p)) is not None and known[0] == stamps[p]}
        new = [path for path in paths if path not in self._seen]
        contents = in_threads(self._read, new, workers=workers, progress=progress)
        for path, content in zip(new, contents, strict=True):
            self._seen[path] = (stamps[path], content)
        return [self._seen[path][1] for path in paths]

    def save(self) -> None:
        """Remembers the pictures, except files that are too young. Where that can't be written, it is said.

        What was none is looked at again: a disk may have been away, or memory too small.
        """
        now = time.time_ns()
        settled = {
            path: seen
            for path, seen in self._seen.items()
            if seen[1].problem is None and now - max(seen[0][1:]) > SETTLED_NS
        }
        known = self._known | settled
        if known != self._known:
            files = {path: [*stamp, content.digest, content.problem] for path, (stamp, content) in known.items()}
            index = sealed({"pillow": _READER, "files": files})
            try:
                atomic_write_bytes(self._path, json_text(index, indent=None).encode())
            except WriteError as problem:
                without_cache(problem)

    def _load(self) -> dict[str, tuple[_Stamp, Content]]:
        try:
            index = decoded(json.loads(self._path.read_bytes()), dict[str, Any])
            # Without a digest it was written by an earlier version.
            if DIGEST not in index:
                return {}
            if not is_whole(index):
                raise DecodeError("its digest is not that of its contents")
            # Another reader may read more, or less.
            if index.get("pillow") != _READER:
                return {}
            files = decoded(index.get("files"), dict[str, tuple[int, int, int, str, str | None]], "files")
        except OSError:
            return {}
        except ValueError as problem:
            note(f"{self._path} is damaged ({problem}): the files it describes are read again")
            return {}
        return {
            path: ((size, modified, changed), Content(digest, problem))
            for path, (size, modified, changed, digest, problem) in files.items()
            if problem is None
        }

    def _stamp(self, path: str) -> _Stamp:
        try:
            stat = (self._root / path).stat()
        except OSError:
            return (-1, 0, 0)
        # The time of the last change, beside that of the last modification: tools that copy keep only the latter.
        return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def _read(self, path: str) -> Content:
        try:
            data = (self._root / path).read_bytes()
        except OSError as problem:
            return Content("", problem.strerror or type(problem).__name__)
        reading, unreadable = examined(data)
        digest = hashlib.sha256(data).hexdigest()
        return Content(f"{digest}.{reading}" if reading else digest, unreadable)
