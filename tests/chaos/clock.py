"""A wall clock that somebody sets all the time."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, tzinfo

from optuna.storages.journal import _storage

_HOURS = 3.0


def let_clock_jump() -> None:
    """From now on the wall clock of this process is wrong by up to three hours, back or forth, anew at every look.

    Optuna writes when a trial began and ended; it reads the clock by a name of its own.
    """
    jumps, right = random.Random(0), time.time

    def hours() -> float:
        return jumps.uniform(-_HOURS, _HOURS)

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Jumping:
            return super().now(tz) + timedelta(hours=hours())

    vars(time)["time"] = lambda: right() + hours() * 3600
    vars(_storage)["datetime"] = Jumping
