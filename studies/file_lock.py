"""The lock of a journal file: one writer at a time, be it ours or a plain Optuna program."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from .patience import Patience

# With filelock's own interval, a writer that hardly ever lets go would starve us.
_POLL_SECONDS = 0.001
_LONGEST_POLL_SECONDS = 0.01
# As long as Optuna waits before it takes a lock for abandoned.
_GRACE_SECONDS = 30.0
_MARK = b"pomona\n"


class JournalLock:
    """Two locks, taken in this order.

    `JOURNAL.flock` is locked by the operating system, which lets go of it when its holder dies: among processes of
    ours that is all. `JOURNAL.lock` is what Optuna's own journal backend takes: a file whose presence is the lock. We
    make it as Optuna does, so that a plain Optuna program and we write in turns. One that a killed process of ours left
    is known by what it points to, and nobody of ours can still hold it while we have the first lock; it is removed at
    once. One of a killed Optuna is removed after Optuna's own grace period.
    """

    def __init__(self, journal: Path, patience: Patience | None = None) -> None:
        self._journal = journal
        self._flock = journal.with_name(journal.name + ".flock")
        self._marker = journal.with_name(journal.name + ".lock")
        self._patience = patience or Patience(limit=None)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds both locks.

        Raises:
            OSError: they can't be made here, or `TimeoutError` where the patience has a limit.
        """
        with ExitStack() as stack:
            stack.enter_context(self._flocked())
            self._mark()
            stack.callback(self._unmark)
            yield

    def is_still_held(self) -> bool:
        """False where Optuna took the lock for abandoned, as it does after half a minute: we were suspended, say."""
        return self._is_ours()

    @contextmanager
    def _flocked(self) -> Iterator[None]:
        # filelock takes some errors of opening for a lock that is held, and would try for ever.
        _open_or_make(self._flock)
        # A new object each time, as one made before a fork may not be used after it.
        lock = filelock.FileLock(self._flock)
        for _ in self._pauses(self._flock_holder):
            try:
                lock.acquire(blocking=False)
                break
            except filelock.Timeout:
                continue
            except NotImplementedError:
                raise OSError(errno.ENOTSUP, "this file system has no locks") from None
        else:
            raise TimeoutError(errno.ETIMEDOUT, f"{self._flock_holder()} does not let go of it")
        try:
            yield
        finally:
            lock.release()

    def _mark(self) -> None:
        seen: object = None
        since = self._patience.clock()
        for _ in self._pauses(self._other_holder):
            try:
                return self._make_marker()
            except FileExistsError:
                pass
            try:
                if self._is_ours():
                    self._remove_marker()
                    return self._make_marker()
                now = (os.lstat(self._marker).st_mtime_ns, os.lstat(self._marker).st_ino, self._size())
            except (FileNotFoundError, FileExistsError):
                continue
            if now != seen:
                seen, since = now, self._patience.clock()
            elif self._patience.clock() - since > _GRACE_SECONDS:
                self._patience.note(f"{self._marker}: removed, the program that locked the journal ended without it")
                with contextlib.suppress(FileNotFoundError):
                    self._remove_marker()
                seen = None
        raise TimeoutError(errno.ETIMEDOUT, f"{self._other_holder()} does not let go of it")

    def _make_marker(self) -> None:
        # Optuna looks at what the link points to when it waits, and takes a lock for abandoned where that stays as it
        # is for half a minute: a waiter that comes too late each time would rob us in the end.
        os.utime(self._flock)
        try:
            os.symlink(os.path.abspath(self._flock), self._marker)
        except OSError as problem:
            if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            # Without symbolic links (memory sticks): the file that Optuna's other kind of lock makes.
            descriptor = os.open(self._marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(descriptor, _MARK)
            os.close(descriptor)

    def _unmark(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._is_ours():
                os.unlink(self._marker)

    def _remove_marker(self) -> None:
        # Renamed first, as Optuna does: of several that remove it, only one gets it.
        gone = self._marker.with_name(f"{self._marker.name}{uuid.uuid4()}.rename")
        os.rename(self._marker, gone)
        os.unlink(gone)

    def _is_ours(self) -> bool:
        try:
            # By its name alone: another container may see the folder under another path.
            return os.path.basename(os.readlink(self._marker)) == self._flock.name
        except FileNotFoundError:
            return False
        except OSError:
            try:
                return self._marker.read_bytes() == _MARK
            except OSError:
                return False

    def _size(self) -> int:
        try:
            return self._journal.stat().st_size
        except OSError:
            return -1

    def _pauses(self, holder: Callable[[], str]) -> Iterator[float]:
        return self._patience.pauses(
            lambda: f"waiting to write to {self._journal}: {holder()} holds its lock",
            shortest=_POLL_SECONDS,
            longest=_LONGEST_POLL_SECONDS,
        )

    def _flock_holder(self) -> str:
        number = _holder_of(self._flock)
        return "another process" if number is None else f"process {number}"

    def _other_holder(self) -> str:
        return f"another program ({self._marker})"


def _open_or_make(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    os.close(descriptor)


def _holder_of(path: Path) -> int | None:
    """The process that holds a lock of the operating system on `path`, where Linux tells."""
    try:
        inode = os.stat(path).st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, process, place, *_ = line.split()
            if kind == "FLOCK" and int(process) > 0 and int(place.rpartition(":")[2]) == inode:
                return int(process)
    except (OSError, ValueError):
        pass
    return None
