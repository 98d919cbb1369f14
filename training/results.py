"""What training gives back: values, not exceptions."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .intervals import Proportion, accuracy, grouped_accuracy


class State(enum.StrEnum):
    """How a trial ended. Anything but `complete` has a reason."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"


@dataclass(frozen=True)
class EpochResult:
    """One epoch: mean losses in nats, `value` on the validation split, seconds of training, images trained on."""

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

    `correct` and `groups` have an entry for each validation example, in the split's order. `start` is the tick of the
    first epoch: with the seed, what decides the order in which the data was seen.
    """

    state: State
    reason: str
    value: float | None
    curve: tuple[EpochResult, ...]
    seconds: float
    seed: int
    correct: tuple[bool, ...] = ()
    groups: tuple[str, ...] = ()
    parameters: int = 0
    checkpoint: Path | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    start: int = 1

    @property
    def n(self) -> int:
        return len(self.correct)

    @property
    def accuracy(self) -> Proportion:
        return accuracy(self.correct)

    @property
    def grouped(self) -> Proportion | None:
        return grouped_accuracy(self.correct, self.groups) if self.groups else None

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
    return tuple(EpochResult(**row) for row in rows)
