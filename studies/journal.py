"""The journal file that keeps studies: locked by the operating system, and whole again after a killed writer.

Optuna 5.0.0 appends one JSON line an operation. Two things of its own file backend are replaced here. Its locks are
files whose presence is the lock, so a killed holder stops everyone for half a minute, and a slow one is robbed. And a
line torn by a kill is left in place: the next record is written behind it, and from then on nobody can read either.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from search_spaces import InputError

_log = logging.getLogger("pomona")

# How Optuna begins every record.
_START = b'{"op_code":'
_MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)
_POLL_SECONDS = 0.005


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Holds a lock that one thread of one process holds at a time; when that one dies, the operating system lets go.

    It lies in a file of its own beside the journal, which stays there: its presence means nothing.
    """
    # Not ".lock": that name is Optuna's own lock, for a program that opens the journal without us. A new object each
    # time, as one made before a fork may not be used after it.
    with filelock.FileLock(journal.with_name(journal.name + ".flock")).acquire(poll_interval=_POLL_SECONDS):
        yield


class Journal(BaseJournalBackend):
    """Optuna's journal file, read by Optuna's code; a record is appended whole or not at all, and never to a torn one.

    Both methods raise `InputError` where the file cannot be used any more: removed, damaged, not permitted, disk full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = JournalFileBackend(str(path))

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        # Without the lock: what a writer has not finished has no end of line yet, and is left out.
        try:
            for record in self._reader.read_logs(log_number_from):
                if not _is_record(record):
                    raise ValueError
                yield record
        except OSError as problem:
            raise InputError(f"cannot read the study from {self._path}: {problem.strerror}") from None
        except ValueError:
            number = _damaged_line(self._path)
            raise InputError(f"{self._path} is damaged: line {number} is no record; go back to a copy of it") from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        records = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        try:
            # "r+b", not "ab": a journal removed under a running study must not come back without its beginning.
            with locked(self._path), self._path.open("r+b", buffering=0) as file:
                if not _ends_in_whole_line(file.fileno()):
                    _cut_torn_tail(self._path)
                end = file.seek(0, os.SEEK_END)
                try:
                    _write_all(file.fileno(), records)
                except BaseException:
                    file.truncate(end)
                    raise
                os.fsync(file.fileno())
        except OSError as problem:
            raise InputError(f"cannot write the study to {self._path}: {problem.strerror}") from None


def open_journal(path: Path, *, for_reading: bool = False) -> JournalStorage:
    """The journal at `path`, made with its folders where it is missing, without a line torn by a kill.

    `for_reading` also opens a journal that this user may read but not write. Every process opens its own: Optuna tells
    writers apart by an identity that a fork would copy.

    Raises:
        InputError: the file is no journal, is damaged before its end, or may not be used. It is left as it is.
    """
    try:
        _refuse_foreign(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(path):
                path.open("ab").close()
                _cut_torn_tail(path)
        except OSError as problem:
            # Readers leave a torn line out, so nothing needs mending for them.
            if not (for_reading and problem.errno in _MAY_NOT_WRITE):
                raise
        return JournalStorage(Journal(path))
    except OSError as problem:
        raise InputError(f"cannot use {path} as storage: {problem.strerror}") from None


def _refuse_foreign(path: Path) -> None:
    """Raises where `path` holds something that no run of ours can have left there."""
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"cannot use {path} as storage: it is not a file")
    with path.open("rb") as file:
        first = file.readline()
    if first.startswith(b"SQLite format 3"):
        raise InputError(f"{path} is an SQLite file, not a journal: name it as sqlite:///{path}")
    # A writer killed within its first record leaves the beginning of one.
    torn = not first.endswith(b"\n") and (first.startswith(_START) or _START.startswith(first))
    if not torn and not _is_record_line(first):
        raise InputError(f"{path} is not a journal of studies: name another file with --storage")


def _cut_torn_tail(path: Path) -> None:
    """Shortens the file to its last whole record. To be called under the lock."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    last = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    if end and not _is_record_line(content[last:end]):
        end = last
    if end < len(content):
        os.truncate(path, end)
        _log.warning("%s: cut off %d bytes of a record that a killed writer left unfinished", path, len(content) - end)


def _ends_in_whole_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and "op_code" in value


def _is_record_line(line: bytes) -> bool:
    try:
        return _is_record(json.loads(line))
    except ValueError:
        return False


def _damaged_line(path: Path) -> int | None:
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file, start=1) if not _is_record_line(line)), None)
