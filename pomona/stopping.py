"""What ends a command early: Ctrl-C, SIGTERM, SIGHUP of a terminal that is closed, and what clusters warn with."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

from training.machine.interrupts import WARNINGS, interrupt

from .console import is_quiet

# `timeout` sends its signal twice, and so does a wrapper that passes on a Ctrl-C that the terminal sent to both.
_ONE_REQUEST_SECONDS = 0.5
_SAYING = b"\nstopping, everything is saved; Ctrl-C again stops at once, a third time without saving\n"


class StopRequests:
    """Counts the signals that ask to stop. The third kills the process.

    The first one raises KeyboardInterrupt like the second, or with `polite` only counts: the work asks for it.
    """

    def __init__(self, *, polite: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._polite = polite
        self._clock = clock
        self._last = -_ONE_REQUEST_SECONDS

    def asked(self) -> bool:
        return self.count > 0

    def on_signal(self, number: int, _frame: object) -> None:
        """The handler of each of the signals."""
        if (now := self._clock()) - self._last < _ONE_REQUEST_SECONDS:
            return
        self._last = now
        self.count += 1
        if self.count > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif self.count == 1 and self._polite:
            if not is_quiet():
                # Straight to the descriptor: whatever was being printed when the signal came would be printed twice.
                with contextlib.suppress(OSError):
                    os.write(2, _SAYING)
        else:
            interrupt()


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """For work that saves itself: gives a function that says whether the user asked to stop.

    The second request raises KeyboardInterrupt wherever the work is, as soon as no write is under way (see
    `training.uninterrupted`); the third kills. Outside the main thread, where signals can't be caught, Ctrl-C keeps its
    usual meaning.
    """
    requests = StopRequests(polite=True)
    with _handled_by(requests):
        yield requests.asked


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """For all other work: every request raises KeyboardInterrupt, as soon as no write is under way."""
    with _handled_by(StopRequests(polite=False)):
        yield


@contextlib.contextmanager
def _handled_by(requests: StopRequests) -> Iterator[None]:
    numbers = [signal.SIGINT, signal.SIGTERM]
    for name in WARNINGS:
        # Not there on Windows. Under nohup SIGHUP is ignored, and stays so.
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            numbers.append(number)
    previous = {}
    with contextlib.suppress(ValueError):
        for number in numbers:
            previous[number] = signal.signal(number, requests.on_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
