"""Work on many files at once, and work that is done once per machine."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from .files import WriteError
from .interrupts import CheckStop, never_stop

_LOOKS_UP_SECONDS = 0.5

Progress = Callable[[int, int], None]
"""Called with (done, total) from the thread that started the work."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[_Result]:
    """`function` of every item, in the items' order. The first exception stops the rest and is raised.

    Threads and not processes: Pillow decodes and resizes without holding the interpreter's lock, so they keep pace
    with processes per photo, start at once, and ask no `__main__` guard of the caller's script.
    """
    with warnings.catch_warnings():
        # A photo with odd metadata is not the user's concern, nor is one that is merely large.
        warnings.filterwarnings("ignore", module="PIL")
        with ThreadPoolExecutor(workers or min(usable_cores(), 16)) as pool:
            futures = [pool.submit(function, item) for item in items]
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    future.result()
                    if progress is not None:
                        progress(done, len(futures))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [future.result() for future in futures]


class Weights:
    """A semaphore of `total` units, of which each holder takes as many as it needs; all of them, if it needs more."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, weight: int) -> Iterator[None]:
        weight = min(weight, self.total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= weight)
            self._free -= weight
        try:
            yield
        finally:
            with self._changed:
                self._free += weight
                self._changed.notify_all()


@contextmanager
def only_one_process(path: Path, check_stop: CheckStop = never_stop) -> Iterator[None]:
    """Held by one process (and thread) of the machine at a time, for the making of `path`.

    While it waits for another process, `check_stop` is called.

    Raises:
        WriteError: the folder of `path` can't be written, or knows no locks.
    """
    # Later than usual: the throughput benchmark runs without it.
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(timeout=_LOOKS_UP_SECONDS)
                break
            except Timeout:
                check_stop()
    except (OSError, NotImplementedError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise WriteError(f"cannot write {path.parent}: {reason}; POMONA_CACHE can name another folder") from None
    try:
        yield
    finally:
        lock.release()
