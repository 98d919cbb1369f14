"""What every peer gives back, and on how many cores it may run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search_spaces import Config

OnEpoch = Callable[[int, float], None]
"""Called with (epoch, accuracy on the validation photos); what it raises ends the trial."""


@dataclass(frozen=True)
class PeerResult:
    """One config trained once: accuracies in 0..1 on the validation photos, `curve` after each epoch.

    `correct` has an entry for each validation photo, in the order of `ImageFolder`.
    """

    accuracy: float
    correct: list[bool]
    seconds: float
    curve: list[float]


@dataclass(frozen=True)
class TrialEnd:
    """A trial of a search that was trained to its end: when (as `time.time` has it), and what came out.

    `accuracy` is on the `n` validation photos. `state` is the file of the trained weights; None where a trial before
    had been better.
    """

    at: float
    accuracy: float
    n: int
    config: Config
    state: Path | None


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
