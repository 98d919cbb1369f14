"""How a storage waits for others: with notes, and asking all the while whether it still should."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_log = logging.getLogger("pomona")

# A wait that is over sooner is not worth a line; one that is not gets another line now and then.
_NOTE_AFTER_SECONDS = 5.0
_NOTE_AGAIN_SECONDS = 60.0
# So long at most between two looks at whether to go on.
_CHECK_SECONDS = 0.5
_LIMIT_SECONDS = 60.0


def _go_on() -> None:
    pass


@dataclass
class Patience:
    """`check` is called all the while and ends the waiting by raising; `limit` ends it after so many seconds.

    `keep_alive` is called after a wait for a database that came back, and every minute in which one is used. The rest
    are what tests replace.
    """

    check: Callable[[], None] = _go_on
    limit: float | None = _LIMIT_SECONDS
    keep_alive: Callable[[], None] = _go_on
    note: Callable[[str], None] = _log.warning
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    is_checking: bool = False
    """While `check` is called. The storage waits then: whatever `check` shows must do without it."""

    def reset(self) -> None:
        """As it was before a run."""
        self.check, self.keep_alive, self.limit = _go_on, _go_on, _LIMIT_SECONDS

    def pauses(
        self,
        what: Callable[[], str],
        *,
        shortest: float,
        longest: float,
        note_after: float = _NOTE_AFTER_SECONDS,
    ) -> Iterator[float]:
        """Yields how many seconds it has waited, first 0, then after pauses that double; ends with the limit.

        `what` says what is waited for, for the notes.
        """
        begin = self.clock()
        next_note, pause = note_after, shortest
        while True:
            waited = self.clock() - begin
            yield waited
            waited = self.clock() - begin
            if self.limit is not None and waited >= self.limit:
                return
            if waited >= next_note:
                self.note(what())
                next_note = waited + _NOTE_AGAIN_SECONDS
            self._pause(pause)
            pause = min(2 * pause, longest)

    def _pause(self, seconds: float) -> None:
        end = self.clock() + seconds
        while True:
            self.is_checking = True
            try:
                self.check()
            finally:
                self.is_checking = False
            left = end - self.clock()
            if left <= 0:
                return
            self.sleep(min(left, _CHECK_SECONDS))
