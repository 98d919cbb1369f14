"""What a driver that is watched says: a line for each thing that happens."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Said:
    """`event` is one of

    - `process`: a worker has the process `pid`,
    - `job`: it was given the trial,
    - `training`: the first sign since that it trains it,
    - `epoch`: it has done an epoch; `recorded`: that is in the journal, with the trial's end where it `ended`,
    - `saved`: the trial is on the disk after an epoch; `ended`: it ended between two epochs,
    - `lost`: the worker died,
    - `outcome`: the study says how a trial ended; `finished`: there is nothing left to do.

    `at` is in seconds of the clock that all processes of a machine have in common, and that nobody sets.
    """

    event: str
    at: float
    worker: int = -1
    trial: int = -1
    epoch: int = 0
    ended: bool = False
    pid: int = 0
    state: str = ""
    reason: str = ""
    value: float | None = None
    curve: tuple[tuple[int, float], ...] = ()

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def of(line: bytes) -> Said:
        kept = json.loads(line)
        return Said(**kept | {"curve": tuple((epoch, value) for epoch, value in kept["curve"])})


def say(event: str, **what: object) -> None:
    """Says it on stdout, in one write: a kill leaves all of a line or nothing."""
    os.write(1, Said(event, time.monotonic(), **what).line())  # type: ignore[arg-type]
