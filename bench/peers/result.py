"""What every peer gives back, and on how many cores it may run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

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


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
