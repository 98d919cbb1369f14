"""The folder of a training run: chosen, made and held by one process, so that no run takes another's place."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from search_spaces import InputError
from training.machine.files import write_error

_LOCK = ".training.lock"
_CHECKPOINTS = Path("checkpoints")


class HeldFolder:
    """A folder that this process trains into; `with` gives it back.

    What was made for it and is still empty at the end is removed. Others know that it is held by the operating system's
    lock on a file in it, not by that file's presence: a run that was killed holds nothing.

    Args:
        path: None takes the first free `checkpoints/TASK-1`, `checkpoints/TASK-2`, ...

    Raises:
        InputError: another process trains into `path`, or it can't be made.
    """

    def __init__(self, path: Path | None, task: str) -> None:
        self._made: list[Path] = []
        try:
            self.path = self._free(task) if path is None else self._make(path)
            self._lock = FileLock(self.path / _LOCK)
            self._hold()
        except OSError as problem:
            self._remove_what_is_empty()
            raise write_error(path or _CHECKPOINTS, problem) from None
        except InputError:
            self._remove_what_is_empty()
            raise

    def __enter__(self) -> HeldFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        if self._lock.is_locked:
            # Before the lock is given back: another process's would be removed after it.
            with suppress(OSError):
                (self.path / _LOCK).unlink(missing_ok=True)
            self._lock.release()
        self._remove_what_is_empty()

    def _free(self, task: str) -> Path:
        number = 1
        while True:
            folder = _CHECKPOINTS / f"{task}-{number}"
            self._make(folder.parent)
            try:
                # The making itself is the reservation: it works for one process only.
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                self._made.append(folder)
                return folder

    def _make(self, folder: Path) -> Path:
        absent = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(absent):
            with suppress(FileExistsError):
                parent.mkdir()
                self._made.append(parent)
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder: choose another --out")
        return folder

    def _hold(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another training writes to {self.path}: wait for its end, or choose another --out"
            ) from None
        except NotImplementedError:
            pass  # a file system without locks: as safe as it can be there

    def _remove_what_is_empty(self) -> None:
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
