"""The metrics of `training.scoring.objectives` for NumPy arrays: a leaderboard must not wait for torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces import is_numeric, positive_class
from training.scoring.intervals import Estimate, accuracy, grouped_accuracy, resampled, wilson

_RESAMPLES = 1000
_Values = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Score:
    """A metric of outputs (n, outputs) against these labels (n,). `positive` is the class of an F1, None of others."""

    metric: str
    labels: NDArray[Any]
    positive: int | None = None

    @staticmethod
    def of(metric: str, classes: Sequence[str], labels: NDArray[Any]) -> Score:
        name = positive_class(metric)
        return Score(metric, labels, None if name is None else list(classes).index(name))

    @property
    def numeric(self) -> bool:
        return is_numeric(self.metric)

    def value(self, outputs: _Values) -> float:
        if self.numeric:
            return self._of_numbers(outputs[:, 0].astype(np.float64), self.labels.astype(np.float64))
        predictions = outputs.argmax(1)
        if self.positive is None:
            return int((predictions == self.labels).sum()) / len(self.labels)
        return _f1_of(self._overlap(predictions)[0])

    def loss(self, outputs: _Values) -> float:
        """The mean of the loss that is trained on, without smoothing: in nats, or the square of the target's unit."""
        if self.numeric:
            return float(np.square(outputs[:, 0] - self.labels).mean())
        shifted = outputs - outputs.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return -float(logs[np.arange(len(logs)), self.labels].mean())

    def estimate(self, outputs: _Values) -> Estimate:
        """The value with its 95 % interval."""
        n = len(self.labels)
        if self.numeric:
            generator, said, true = np.random.default_rng(0), outputs[:, 0], self.labels.astype(np.float64)
            rows = (generator.integers(n, size=n) for _ in range(_RESAMPLES))
            draws = [self._of_numbers(said[index], true[index]) for index in rows]
            return resampled(self.value(outputs), n, np.array(draws))
        predictions = outputs.argmax(1)
        if self.positive is None:
            return accuracy((predictions == self.labels).tolist())
        found = wilson(*self._overlap(predictions))
        return Estimate(_f1_of(found.value), n, _f1_of(found.low), _f1_of(found.high))

    def grouped(self, outputs: _Values, groups: NDArray[np.int64]) -> Estimate | None:
        """The accuracy with groups (n,) as independent samples; None of other metrics, and where there are none."""
        if self.positive is not None or self.numeric or not len(groups):
            return None
        return grouped_accuracy((outputs.argmax(1) == self.labels).tolist(), [str(group) for group in groups])

    def _overlap(self, predictions: NDArray[np.int64]) -> tuple[float, int]:
        said, true = predictions == self.positive, self.labels == self.positive
        n = int((said | true).sum())
        return (int((said & true).sum()) / n if n else 0.0), n

    def _of_numbers(self, said: _Values, true: _Values) -> float:
        squares = np.square(said - true)
        if self.metric == "rmse":
            return math.sqrt(float(squares.mean()))
        whole = float(np.square(true - true.mean()).sum())
        if not whole or bool((true == true[0]).all()):
            return math.nan
        return 1 - float(squares.sum()) / whole


def _f1_of(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)
