"""The journal file that keeps studies: locked for us and for plain Optuna, and whole again after a killed writer.

Optuna 5.0.0 appends one JSON line an operation. Three things of its own file backend are replaced here. Its locks are
files whose presence is the lock, so a killed holder stops everyone for half a minute; see `file_lock`. A line torn by
a kill is left in place: the next record is written behind it, and from then on nobody can read either. And every
operation waits for the disk on its own, where a trial has dozens.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, _storage

from search_spaces import InputError
from training import uninterrupted
from training.machine.memory import collector_paused

from .file_lock import JournalLock
from .journal_replay import CheckedStorage
from .patience import Patience

_log = logging.getLogger("pomona")

# Nobody reads gigabytes of a file without lines to find that it is no journal; a study's name has a limit.
_LONGEST_FIRST_LINE = 1 << 20
# How Optuna begins every record.
_START = b'{"op_code":'


@dataclass
class _Batch:
    """Records that wait for the end of a transaction, as the lines that they will be."""

    lines: list[bytes] = field(default_factory=list)
    # Number of the first one, and where in the file it will begin: known once the file has been read to its end.
    start: int | None = None
    offset: int | None = None


class Journal(BaseJournalBackend):
    """Optuna's journal file; a record is appended whole or not at all, and never to a torn one.

    All methods raise `InputError` where the file cannot be used any more: removed, damaged, not permitted, disk full.
    """

    def __init__(self, path: Path, patience: Patience | None = None) -> None:
        self._path = path
        self._lock = JournalLock(path, patience)
        self._is_tail_checked = False
        # How many records this object has read, and where in the file they end.
        self._read = (0, 0)
        self._batch: _Batch | None = None
        self._lost_batch = False
        self._guard = threading.Lock()

    def __reduce__(self) -> tuple[type[Journal], tuple[Path]]:
        return Journal, (self._path,)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        with self._guard:
            self._refuse_after_loss()
            if (batch := self._batch) is not None:
                records = []
                if batch.start is None or log_number_from < batch.start:
                    records = list(self._read_file(log_number_from))
                    batch.start, batch.offset = log_number_from + len(records), self._read[1]
                # Read back from text, so that nobody gets to see what a later reader of the file will not.
                lines = batch.lines[max(log_number_from - batch.start, 0) :]
                return records + [json.loads(line) for line in lines]
        return self._read_file(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        with self._guard:
            self._refuse_after_loss()
            if self._batch is not None:
                self._batch.lines += lines
            else:
                with self._locked(), uninterrupted():
                    self._append(b"".join(lines))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Puts all that is written inside into one append and one fsync, at its end; the journal is locked meanwhile.

        Whoever reads through this object sees the records at once, others see them when they are in the file. An
        exception ends the transaction like any other end: the records that came before it were applied in memory, so
        they are written. A kill loses the records, or leaves the first few of them, as it does without a transaction;
        order is kept, so these are a state that the study went through. Inside another transaction this is none of its
        own, and what a second thread writes meanwhile becomes part of this one.

        Nothing slow belongs inside, as other writers wait, and no second journal object on the same file, which would
        wait for ever. Where the records cannot be written, `InputError` is raised, and from then on by every method:
        what was built from them in memory is not what the file holds.
        """
        with self._guard:
            self._refuse_after_loss()
            outermost = self._batch is None
            lock = ExitStack()
            if outermost:
                lock.enter_context(self._locked())
                lock.enter_context(uninterrupted())
                self._batch = _Batch()
        try:
            yield
        finally:
            if outermost:
                with self._guard, lock:
                    self._end_batch()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._lock.held():
                yield
        except OSError as problem:
            raise InputError(f"cannot write the study to {self._path}: {problem.strerror}") from None

    def _end_batch(self) -> None:
        assert self._batch is not None
        batch, self._batch = self._batch, None
        if not batch.lines:
            return
        try:
            end = self._append(b"".join(batch.lines), at=batch.offset)
        except BaseException:
            self._lost_batch = True
            raise
        if batch.start is not None:
            self._read = (batch.start + len(batch.lines), end)

    def _append(self, records: bytes, *, at: int | None = None) -> int:
        """Appends whole lines, to be called under the lock; returns where the file ends then.

        `at` is where the file has to end before: trials get their numbers by their place, and what somebody appended
        in between would shift those that were given since.
        """
        # "r+b", not "ab": a journal removed under a running study must not come back without its beginning.
        with self._path.open("r+b", buffering=0) as file:
            if not self._is_tail_checked or not _ends_in_whole_line(file.fileno()):
                _cut_torn_tail(self._path)
                self._is_tail_checked = True
            end = file.seek(0, os.SEEK_END)
            if not self._lock.is_still_held() or at not in (None, end):
                raise InputError(
                    f"another program wrote to {self._path} while this one had locked it: "
                    "nothing was written over it; go on with `pomona resume`"
                )
            try:
                _write_all(file.fileno(), records)
            except BaseException:
                file.truncate(end)
                raise
            os.fsync(file.fileno())
        return end + len(records)

    def _read_file(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records in the file from that number on."""
        # Optuna's own reader remembers the places of records that it has read itself, and so would go through the whole
        # file after each transaction. Without the lock: what a writer has not finished has no end of line yet, and is
        # left out.
        number, offset = self._read if log_number_from >= self._read[0] else (0, 0)
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    offset += len(line)
                    number += 1
                    if number > log_number_from:
                        if (record := _record(line)) is None:
                            if file.read(1):
                                raise InputError(
                                    f"{self._path} is damaged: line {_damaged_line(self._path)} is no record; "
                                    "go back to a copy of it"
                                )
                            return
                        self._read = (number, offset)
                        yield record
        except OSError as problem:
            raise InputError(f"cannot read the study from {self._path}: {problem.strerror}") from None

    def _refuse_after_loss(self) -> None:
        if self._lost_batch:
            raise InputError(f"the last records could not be written to {self._path}: open the study again")


def open_journal(path: Path, *, for_reading: bool = False, patience: Patience | None = None) -> JournalStorage:
    """The journal at `path`, made with its folders where it is missing, without a line torn by a kill.

    `for_reading` waits for nobody, and also opens a journal that this user may read but not write. Every process opens
    its own: Optuna tells writers apart by an identity that a fork would copy.

    Raises:
        InputError: the file is no journal, is damaged before its end or of a newer Optuna, or may not be used. It is
            left as it is.
    """
    try:
        refuse_foreign(path)
        # Readers leave a torn line out, so nothing needs repair for them; the first record they write cuts it off.
        if not for_reading:
            path.parent.mkdir(parents=True, exist_ok=True)
            with JournalLock(path, patience).held():
                path.open("ab").close()
                _cut_torn_tail(path)
        with _replayed_quickly():
            return CheckedStorage(Journal(path, patience), path)
    except OSError as problem:
        raise InputError(f"cannot use {path} as storage: {problem.strerror}") from None


@contextmanager
def _replayed_quickly() -> Iterator[None]:
    """While Optuna replays a journal: a distribution's JSON is parsed once, not for every parameter of every trial.

    Of 10,000 trials with a dozen parameters that is half of the time, and Python's garbage collector a sixth. Trials
    share distributions then, which nobody ever changes.
    """
    names = vars(_storage)
    parse = names["json_to_distribution"]
    with collector_paused():
        names["json_to_distribution"] = functools.lru_cache(maxsize=None)(parse)
        try:
            yield
        finally:
            names["json_to_distribution"] = parse


def refuse_foreign(path: Path) -> None:
    """Raises InputError where `path` holds something that no run of ours can have left there."""
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"cannot use {path} as storage: it is not a file")
    with path.open("rb") as file:
        first = file.readline(_LONGEST_FIRST_LINE)
    if first.startswith(b"SQLite format 3"):
        raise InputError(f"{path} is an SQLite file, not a journal: name it as sqlite:///{path}")
    # A writer killed within its first record leaves the beginning of one.
    torn = not first.endswith(b"\n") and (first.startswith(_START) or _START.startswith(first))
    if not torn and _record(first) is None:
        raise InputError(f"{path} is not a journal of studies: name another file with --storage")


def _cut_torn_tail(path: Path) -> None:
    """Shortens the file to its last whole record. To be called under the lock."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    last = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    if end and _record(content[last:end]) is None:
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


def _record(line: bytes) -> dict[str, Any] | None:
    """The record that a line holds; None where it holds none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "op_code" in value else None


def _damaged_line(path: Path) -> int | None:
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file, start=1) if _record(line) is None), None)
