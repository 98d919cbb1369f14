"""Writes that are whole or not there: temporary file beside the target, fsync, rename."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_spaces import InputError

from .interrupts import uninterrupted

SCHEMA_VERSION = 1
"""Of the JSON objects that commands print: larger when a field changes its meaning or goes. docs/json.md lists them."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(InputError):
    """The system did not let us write a file; what stood there is as it was."""


def write_error(path: Path, problem: OSError) -> WriteError:
    """What to tell the user of a file or folder that can't be written."""
    if problem.errno in _NO_ROOM:
        return WriteError(f"no room left to write {path}: free some space; what stood there is unchanged")
    if isinstance(problem, FileExistsError) and problem.filename is not None:
        return WriteError(f"cannot write {path}: {problem.filename} is in the way and is not a folder")
    return WriteError(f"cannot write {path}: {problem.strerror or problem}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends well, and vanishes when it does not.

    Raises:
        WriteError: the disk is full or the folder can't be written; `path` is as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        with uninterrupted():
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _sync_folder(path.parent)
    except OSError as problem:
        raise write_error(path, problem) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    with uninterrupted(), atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_json(path: Path, value: Any) -> None:
    atomic_write_bytes(path, (json_text(value, sort_keys=True) + "\n").encode())


def write_versioned_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes an object for other programs; it says by which `schema_version` it is to be read."""
    atomic_write_json(path, {"schema_version": SCHEMA_VERSION} | dict(figures))


def json_text(value: Any, *, indent: int | None = 2, sort_keys: bool = False) -> str:
    """`value` as JSON that every reader accepts: NaN and infinities, which JSON lacks, become null.

    NumPy scalars become numbers and paths become text.
    """
    return json.dumps(_strict(value), indent=indent, sort_keys=sort_keys, allow_nan=False)


def answer_text(answer: Any) -> str:
    """What a command prints for programs, as JSON. An object says by which `schema_version` it is to be read."""
    text = json_text({"schema_version": SCHEMA_VERSION} | dict(answer) if isinstance(answer, Mapping) else answer)
    # Half of a surrogate pair stands for a byte that is no UTF-8; as an escape, strict readers refuse it.
    return _ESCAPES.sub(lambda found: "\\" + found[0] if found[1] else found[0], text)


# A backslash, a surrogate pair, and half of one, as JSON escapes them.
_ESCAPES = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|(\\ud[89a-f]..)")


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        # float(): NumPy's float64 is a float, but prints as another type in error messages and in repr.
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _strict(part) for key, part in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence):
        return [_strict(part) for part in value]
    if hasattr(value, "item"):
        return _strict(value.item())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _umask() -> int:
    # There is no way to read it but to set it.
    current = os.umask(0o022)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
