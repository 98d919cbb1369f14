"""What training gives back: values, not exceptions."""

from __future__ import annotations

import enum
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine.decode import decoded
from ..scoring.intervals import Estimate


class State(enum.StrEnum):
    """How a trial ended. Anything but `complete` has a reason."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"


OUT_OF_MEMORY = "out of memory with batches of"
"""How the reason of an infeasible trial begins that had the memory for itself, before the size of its batches."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of memory for which a run was short that trained alone.

    Attributes:
        actual: what it was seen to need at least.
        predicted: what its structure and its batches need; None where that could not be found out.
        limit: what it could have.
    """

    actual: int
    predicted: int | None
    limit: int

    @property
    def excess(self) -> float:
        """By what share of the limit more was needed, by the larger of the figures; 0 where none of them says so: free
        memory may lie in pieces that are too small."""
        return max(max(self.actual, self.predicted or 0) / self.limit - 1, 0.0)

    def __str__(self) -> str:
        predicted = "" if self.predicted is None else f", {_gibibytes(self.predicted)} predicted"
        return f"at least {_gibibytes(self.actual)} of {_gibibytes(self.limit)}{predicted}"


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


@dataclass(frozen=True)
class EpochResult:
    """One epoch: `value` of the metric on the validation split, seconds of training, and images trained on.

    Losses are means, in nats or in squared units of the target. `from_kept`: what trained read kept outputs of
    pretrained frozen stages, and no pictures went through these.
    """

    epoch: int
    epochs: int
    loss: float
    valid_loss: float
    value: float
    seconds: float
    images: int
    trained_stages: int
    from_kept: bool = False

    @property
    def examples_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says of every validation example, in the split's order, and all that it takes to score it again.

    Attributes:
        values: logits (n, classes), float32; or numbers in the target's unit (n, 1), float64 where the labels have an
            offset (see `Splits`).
        labels: (n,), places in `classes`, or numbers where those are empty.
        groups: (n,), equal for examples of one group; empty where the data has no groups.
        split: a digest of which examples they are: outputs of equal splits stand in the same order.
        shifted: (forms, n, outputs) the same as `values`, of the forms in which others might have brought the examples;
            None where it was not scored on these.
    """

    values: NDArray[np.floating[Any]]
    labels: NDArray[Any]
    groups: NDArray[np.int64]
    classes: tuple[str, ...]
    split: str
    shifted: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class CrossValidated:
    """What repeated grouped K-fold on training and validation examples says of a config.

    `estimate` is the mean of the folds' values, each of which counts for as many examples as it holds, with the 95 %
    interval by groups of held-out examples, `n` of them. `folds` were done; `FOLDS` of them hold each example out once.
    `stopped` says why there are no more, empty for those that stayed to the end. `seconds` are this config's share of
    the time.
    """

    estimate: Estimate
    folds: int
    stopped: str
    seconds: float

    @property
    def value(self) -> float:
        return self.estimate.value

    @property
    def ci95(self) -> tuple[float, float]:
        return self.estimate.ci95


@dataclass(frozen=True)
class FitResult:
    """One config trained once. `value` is that of the last epoch, `seconds` all of it with evaluation.

    `estimate` is the value with its interval on the validation split, `grouped` the same with groups as independent
    samples, and `secondary` what other metrics say. `predictions` has an entry for each validation example, in the
    split's order: the number of a class, or a number. `outputs` are what these come from, None where there is no whole
    epoch. `robust` is the mean of the metric over the forms in which others might have brought the validation examples
    (`Modality.shifted`); None where that was not asked for, or there are none. `cross_validated` is there where the job
    asked for it and the config was worth it. Their seconds are among `seconds`, and nothing else depends on them.
    `memory` is there where a run was short of it that trained alone.
    """

    state: State
    reason: str
    value: float | None
    curve: tuple[EpochResult, ...]
    seconds: float
    seed: int
    estimate: Estimate | None = None
    grouped: Estimate | None = None
    secondary: dict[str, float] = field(default_factory=dict)
    predictions: tuple[float, ...] = ()
    parameters: int = 0
    checkpoint: Path | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    robust: float | None = None
    memory: MemoryNeed | None = None
    outputs: Outputs | None = field(default=None, repr=False, compare=False)
    cross_validated: CrossValidated | None = None

    @property
    def n(self) -> int:
        """Examples that the value was measured on."""
        return self.estimate.n if self.estimate else 0

    @property
    def images(self) -> int:
        return sum(epoch.images for epoch in self.curve)

    @property
    def images_per_second(self) -> float | None:
        """Examples that went through the network a second, in the last phase of training; without evaluation.

        None where that phase read kept outputs of frozen stages: then it is `features_per_second`.
        """
        return self._speed(from_kept=False)

    @property
    def features_per_second(self) -> float | None:
        """Examples a second in the last phase of training where that read kept outputs of frozen stages, else None.

        The time in which these were computed is not in it, as it is not the trial's own.
        """
        return self._speed(from_kept=True)

    def _speed(self, *, from_kept: bool) -> float | None:
        # A head alone is a hundred times as fast as stages: a mean over both phases would be the speed of neither.
        last = [epoch for epoch in self.curve if epoch.trained_stages == self.curve[-1].trained_stages]
        chosen = [epoch for epoch in last if epoch.from_kept == from_kept]
        seconds = sum(epoch.seconds for epoch in chosen)
        return sum(epoch.images for epoch in chosen) / seconds if seconds else None


def interrupted_after(epoch: int, epochs: int) -> str:
    """What is said of a run that ended after `epoch` of its `epochs` for no reason of its own."""
    return f"interrupted after {epoch} of {epochs} epochs"


def curve_to_json(curve: tuple[EpochResult, ...]) -> list[dict[str, Any]]:
    return [asdict(epoch) for epoch in curve]


def curve_from_json(rows: object) -> tuple[EpochResult, ...]:
    """What `curve_to_json` gave; a number that JSON could not hold, and which became null, is NaN again.

    Raises:
        DecodeError: it is something else; the field is named.
    """
    numbers = [
        {name: math.nan if value is None else value for name, value in row.items()}
        for row in decoded(rows, list[dict[str, Any]], "curve")
    ]
    return decoded(numbers, tuple[EpochResult, ...], "curve")
