"""What training gives back: values, not exceptions."""

from __future__ import annotations

import enum
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .intervals import Estimate


class State(enum.StrEnum):
    """How a trial ended. Anything but `complete` has a reason."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"


@dataclass(frozen=True)
class EpochResult:
    """One epoch: `value` of the metric on the validation split, seconds of training, and images trained on.

    Losses are means, in nats or in squared units of the target.
    """

    epoch: int
    epochs: int
    loss: float
    valid_loss: float
    value: float
    seconds: float
    images: int
    trained_stages: int


@dataclass(frozen=True)
class FitResult:
    """One config trained once. `value` is that of the last epoch, `seconds` all of it with evaluation.

    `estimate` is the value with its interval on the validation split, `grouped` the same with groups as witnesses, and
    `beside` what other metrics say. `answers` has an entry for each validation example, in the split's order: the
    number of a class, or a number. `start` is the tick of the first epoch: with the seed, what decides the order in
    which the data was seen.
    """

    state: State
    reason: str
    value: float | None
    curve: tuple[EpochResult, ...]
    seconds: float
    seed: int
    estimate: Estimate | None = None
    grouped: Estimate | None = None
    beside: dict[str, float] = field(default_factory=dict)
    answers: tuple[float, ...] = ()
    parameters: int = 0
    checkpoint: Path | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    start: int = 1

    @property
    def n(self) -> int:
        """Examples that the value was measured on."""
        return self.estimate.n if self.estimate else 0

    @property
    def images(self) -> int:
        return sum(epoch.images for epoch in self.curve)

    @property
    def images_per_second(self) -> float:
        """Training images a second; evaluation is in neither number."""
        seconds = sum(epoch.seconds for epoch in self.curve)
        return self.images / seconds if seconds else 0.0


def curve_to_json(curve: tuple[EpochResult, ...]) -> list[dict[str, Any]]:
    return [asdict(epoch) for epoch in curve]


def curve_from_json(rows: list[dict[str, Any]]) -> tuple[EpochResult, ...]:
    """What `curve_to_json` gave; a number that JSON could not hold, and which became null, is NaN again."""
    numbers: list[dict[str, Any]] = [{name: math.nan if x is None else x for name, x in row.items()} for row in rows]
    return tuple(EpochResult(**row) for row in numbers)
