"""Ctrl-C and its like: when they may take effect, and how often work is saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Saving takes at most this share of the time.
_SAVING_SHARE = 0.03
_SECONDS_BETWEEN_SAVES = 2.0

CheckStop = Callable[[], None]
"""Called at least every second or so of work; what it raises ends the work."""


def never_stop() -> None:
    """A `CheckStop` for work that nobody stops."""


WARNINGS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals that say, where a system has them, that the end is near: a terminal was closed; and what Slurm (--signal),
LSF and Grid Engine (-notify) send some time before they kill, one of the next two, or the last where the time of a job
is over."""


def leave_stops_to_others() -> None:
    """This process ends when another one says so: what the system asks all processes of a job is not its business."""
    for name in ("SIGINT", "SIGTERM", *WARNINGS):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


class _Deferred:
    """Signals are handled in the main thread alone, so plain numbers will do."""

    depth = 0
    pending = False


def interrupt() -> None:
    """To be called by a signal's handler: raises KeyboardInterrupt, at once or at the end of `uninterrupted`."""
    if _Deferred.depth:
        _Deferred.pending = True
    else:
        raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What belongs together, such as a write: an `interrupt` meanwhile takes effect at the end. Nothing slow inside."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Deferred.depth += 1
    try:
        yield
    finally:
        _Deferred.depth -= 1
        if _Deferred.pending and not _Deferred.depth:
            _Deferred.pending = False
            raise KeyboardInterrupt


class SaveClock:
    """Says when to save again: every two seconds, or as often as costs little where a save takes long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + _SECONDS_BETWEEN_SAVES

    def due(self) -> bool:
        return self._clock() >= self._next

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around a save; it is not interrupted."""
        started = self._clock()
        with uninterrupted():
            yield
        ended = self._clock()
        self._next = ended + max((ended - started) / _SAVING_SHARE, _SECONDS_BETWEEN_SAVES)
