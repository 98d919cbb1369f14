"""Published files, fetched once: resumed where they stopped, checked before they are used."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

from search_spaces import InputError

from ...machine.cache import cache_folder
from ...machine.threads import Progress, only_one_process

_CHUNK = 1 << 18
_PATIENCE_SECONDS = 30.0
# Of attempts that bring something: a line that drops this often will not hold for the rest either.
_ATTEMPTS = 5
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web; `checksum` is `sha256:...` or `md5:...`, `size` in bytes where it is known too.

    A `checksum` of None is for files of which none is published, and which notice by themselves when they are damaged.
    `mirrors` are other addresses of it, in the order in which they are tried.
    """

    url: str
    checksum: str | None
    size: int | None = None
    mirrors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.checksum is not None:
            algorithm, _, digest = self.checksum.partition(":")
            assert (algorithm, len(digest)) in (("sha256", 64), ("md5", 32)), self.checksum

    @property
    def name(self) -> str:
        return PurePosixPath(unquote(urlparse(self.url).path)).name


def download_folder() -> Path:
    return cache_folder("downloads")


def download(file: RemoteFile, folder: Path | None = None, *, progress: Progress | None = None) -> Path:
    """The file, whole and checked, in `folder` (below the cache by default); what is there already is not fetched.

    Several processes that want it get it by one download. What was fetched before an interruption is kept beside it as
    `.part`, and not fetched again. `progress` counts bytes, of all there are (0 while that is not known).

    Raises:
        InputError: the file can't be had, or is not the published one, or the folder can't be written.
    """
    target = (folder or download_folder()) / file.name
    with only_one_process(target), _named_problems(target.parent):
        if target.exists():
            if (found := _Received(file, target).checksum) != file.checksum:
                raise InputError(f"{target} is not the published file ({found}, not {file.checksum}): remove it")
            return target
        part = target.with_name(f"{target.name}.part")
        _fetch_from_any(file, part, progress)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(target)
    return target


def _fetch_from_any(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    """Fetches `part` from the first address that gives the file; the problem of the first is told if none does."""
    problems: list[InputError] = []
    for url in (file.url, *file.mirrors):
        try:
            return _fetch_checked(replace(file, url=url), part, progress)
        except InputError as problem:
            problems.append(problem)
    raise problems[0]


def _fetch_checked(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    received = _fetched(file, part, progress)
    wrong = "" if file.size in (None, received.size) else f"{received.size} bytes, not {file.size}"
    if received.checksum != file.checksum:
        wrong = f"{received.checksum}, not {file.checksum}"
    if wrong:
        part.unlink()
        raise InputError(
            f"{file.url} is not the file that was published ({wrong}), and was removed: try again, or "
            + _ways_out(part.parent)
        )


class _Received:
    """What a file on disk holds so far: its size and its checksum, which grows with it; None if none is known."""

    def __init__(self, file: RemoteFile, path: Path) -> None:
        self._algorithm = file.checksum.partition(":")[0] if file.checksum else None
        self.start_over()
        if path.exists():
            with path.open("rb") as there:
                while block := there.read(_CHUNK):
                    self.add(block)

    def start_over(self) -> None:
        self.size = 0
        self._hash = hashlib.new(self._algorithm, usedforsecurity=False) if self._algorithm else None

    def add(self, block: bytes) -> None:
        self.size += len(block)
        if self._hash is not None:
            self._hash.update(block)

    @property
    def checksum(self) -> str | None:
        return None if self._hash is None else f"{self._algorithm}:{self._hash.hexdigest()}"


def _fetched(file: RemoteFile, part: Path, progress: Progress | None) -> _Received:
    """Fetches what `part` lacks. It is whole afterwards, though perhaps of something else."""
    received = _Received(file, part)
    if file.checksum is not None and received.checksum == file.checksum:
        return received
    for _ in range(_ATTEMPTS):
        before = received.size
        try:
            if _go_on(file, part, received, progress):
                return received
            problem = f"the connection ended after {received.size} bytes"
        except urllib.error.HTTPError as refused:
            refused.close()
            problem = f"{refused.code} {refused.reason}"
            if refused.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                # There are more bytes here than there: this is the beginning of another file.
                part.unlink()
                received.start_over()
                continue
        except urllib.error.URLError as unreachable:
            problem = str(getattr(unreachable.reason, "strerror", None) or unreachable.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as broken:
            problem = str(broken) or type(broken).__name__
        if received.size <= before:
            break
    kept = "what has come is kept, try again" if received.size else "try again"
    raise InputError(f"{file.url} can't be downloaded ({problem}): {kept}, or {_ways_out(part.parent)}")


def _go_on(file: RemoteFile, part: Path, received: _Received, progress: Progress | None) -> bool:
    """One request for the rest; whether all of it came."""
    headers = {"User-Agent": "pomona", "Accept-Encoding": "identity"}
    if received.size:
        headers["Range"] = f"bytes={received.size}-"
    request = urllib.request.Request(file.url, headers=headers)
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as response:
        if not _continues(response, received.size):
            received.start_over()
        length = response.headers.get("Content-Length")
        total = received.size + int(length) if length else file.size or 0
        with part.open("ab" if received.size else "wb") as out:
            while block := response.read(_CHUNK):
                out.write(block)
                received.add(block)
                if progress is not None:
                    progress(received.size, total)
    return not length or received.size == total


def _continues(response: Any, offset: int) -> bool:
    """Whether a response goes on at `offset`; servers may answer with the whole file instead."""
    given = response.headers.get("Content-Range", "")
    return bool(offset) and response.status == http.HTTPStatus.PARTIAL_CONTENT and given.startswith(f"bytes {offset}-")


@contextmanager
def _named_problems(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in _NO_ROOM:
            raise InputError(f"no room left in {folder}: free some space; what has come so far is kept") from None
        raise InputError(f"cannot write {problem.filename or folder}: {problem.strerror or problem}") from None


def _ways_out(folder: Path) -> str:
    return f"put it into {folder} by hand, or name data of your own with --data DIR"
