"""What classification and regression differ in: the loss that is trained on, and the metric that is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import InputError, is_numeric, positive_class

from .intervals import Estimate, accuracy, grouped_accuracy, resampled, wilson

_RESAMPLES = 1000

StackedLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Outputs (n, K, out) of K models and labels (n,) -> each model's summed loss (K,), and the gradient of its mean loss
with respect to the outputs."""


class Loss(Protocol):
    """A loss of outputs (..., n, out) and labels (n,)."""

    def each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """(..., n): of every example, as it is reported for the validation split."""

    def mean(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """What is trained on, to be differentiated; outputs (n, out). `smoothing` is that of labels of classes."""

    def stacked(self, smoothings: Sequence[float], device: torch.device) -> StackedLoss:
        """The same for several models, each with its own smoothing, and with the gradient written out."""


class Metric(Protocol):
    """A metric of answers (n,), which are what a model says of each example, and labels (n,)."""

    def undefined(self, labels: Tensor) -> str:
        """Why no answers to these labels have a value; empty where some do."""

    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs (..., n, out) -> (..., n)."""

    def value(self, predictions: Tensor, labels: Tensor) -> float: ...

    def contributions(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """What each example has to do with the value: float64 (n,), whose mean is the value.

        Their spread is that of the value by the delta method; that of the differences between two models' is that of
        the difference of their values.
        """

    def estimate(self, predictions: Tensor, labels: Tensor) -> Estimate:
        """The value with its 95 % interval."""

    def grouped(self, predictions: Tensor, labels: Tensor, groups: Sequence[str]) -> Estimate | None:
        """The same with the groups as independent samples; None where that is not defined, or there are no groups."""

    def secondary(self, predictions: Tensor, labels: Tensor) -> dict[str, float]:
        """What else is told about the answers, by its name."""


@dataclass(frozen=True)
class CrossEntropy:
    """In nats, with label smoothing where it is trained on."""

    classes: int

    def each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        wide = labels.expand(outputs.shape[:-1])
        return F.cross_entropy(outputs.flatten(0, -2), wide.flatten(), reduction="none").view(wide.shape)

    def mean(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        return F.cross_entropy(outputs, labels, label_smoothing=smoothing)

    def stacked(self, smoothings: Sequence[float], device: torch.device) -> StackedLoss:
        one_hot = torch.eye(self.classes, device=device)
        smoothing = torch.tensor(smoothings, dtype=torch.float32, device=device)[:, None]
        floor, peak = smoothing / self.classes, 1 - smoothing

        def loss(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            target = torch.addcmul(floor, one_hot[labels][:, None], peak)
            logs = outputs.log_softmax(2)
            losses = -(target * logs).sum((0, 2))
            return losses, logs.exp_().sub_(target).div_(len(labels))

        return loss


@dataclass(frozen=True)
class SquaredError:
    """In the square of the target's unit; one output a model, which is compared with labels less `offset`."""

    offset: float = 0.0

    def each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.squeeze(-1) - self._learned(labels)).square()

    def mean(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        return self.each(outputs, labels).mean()

    def stacked(self, smoothings: Sequence[float], device: torch.device) -> StackedLoss:
        def loss(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            apart = outputs - self._learned(labels)[:, None, None]
            return apart.square().sum((0, 2)), apart.mul_(2 / len(labels))

        return loss

    def _learned(self, labels: Tensor) -> Tensor:
        return (labels.double() - self.offset).float() if self.offset else labels


class _OfClasses:
    """Answers are the numbers of classes."""

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1)

    def undefined(self, labels: Tensor) -> str:
        return ""


@dataclass(frozen=True)
class Accuracy(_OfClasses):
    """The share of right answers, with Wilson's interval."""

    def value(self, predictions: Tensor, labels: Tensor) -> float:
        return int((predictions == labels).sum()) / len(labels)

    def contributions(self, predictions: Tensor, labels: Tensor) -> Tensor:
        return (predictions == labels).double()

    def estimate(self, predictions: Tensor, labels: Tensor) -> Estimate:
        return accuracy((predictions == labels).tolist())

    def grouped(self, predictions: Tensor, labels: Tensor, groups: Sequence[str]) -> Estimate | None:
        return grouped_accuracy((predictions == labels).tolist(), groups) if groups else None

    def secondary(self, predictions: Tensor, labels: Tensor) -> dict[str, float]:
        return {}


@dataclass(frozen=True)
class F1(_OfClasses):
    """The harmonic mean of precision and recall of one class; 0 where nothing is, or is said to be, of it."""

    positive: int

    def value(self, predictions: Tensor, labels: Tensor) -> float:
        return _f1_of(self._overlap(predictions, labels)[0])

    def contributions(self, predictions: Tensor, labels: Tensor) -> Tensor:
        said, true = predictions == self.positive, labels == self.positive
        # F1 is twice the number that is said and true over the sum of both numbers: a ratio of two sums.
        above, below = 2 * (said & true).double(), said.double() + true.double()
        value = _f1_of(self._overlap(predictions, labels)[0])
        return value + (above - value * below) / below.mean().clamp(min=1 / len(labels))

    def undefined(self, labels: Tensor) -> str:
        return "" if bool((labels == self.positive).any()) else "no example is of its class"

    def estimate(self, predictions: Tensor, labels: Tensor) -> Estimate:
        """The interval is Wilson's for the overlap (Jaccard's index), of which F1 is a function that only grows."""
        found = wilson(*self._overlap(predictions, labels))
        return Estimate(_f1_of(found.value), len(labels), _f1_of(found.low), _f1_of(found.high))

    def grouped(self, predictions: Tensor, labels: Tensor, groups: Sequence[str]) -> Estimate | None:
        return None

    def secondary(self, predictions: Tensor, labels: Tensor) -> dict[str, float]:
        return {"accuracy": Accuracy().value(predictions, labels)}

    def _overlap(self, predictions: Tensor, labels: Tensor) -> tuple[float, int]:
        """Of the examples that are of the class or are said to be, the share that both holds for; and their number."""
        said, true = predictions == self.positive, labels == self.positive
        n = int((said | true).sum())
        return (int((said & true).sum()) / n if n else 0.0), n


def _f1_of(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)


class _OfNumbers:
    """Answers are numbers; there is one output."""

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1)

    def undefined(self, labels: Tensor) -> str:
        return ""

    def value(self, predictions: Tensor, labels: Tensor) -> float:
        return self._of(predictions.double(), labels.double())

    def estimate(self, predictions: Tensor, labels: Tensor) -> Estimate:
        generator, n = np.random.default_rng(0), len(labels)
        said, true = predictions.double(), labels.double()
        draws = []
        for _ in range(_RESAMPLES):
            index = torch.from_numpy(generator.integers(n, size=n))
            draws.append(self._of(said[index], true[index]))
        return resampled(self._of(said, true), n, np.array(draws))

    def grouped(self, predictions: Tensor, labels: Tensor, groups: Sequence[str]) -> Estimate | None:
        return None

    def _of(self, predictions: Tensor, labels: Tensor) -> float:
        raise NotImplementedError

    def contributions(self, predictions: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def secondary(self, predictions: Tensor, labels: Tensor) -> dict[str, float]:
        raise NotImplementedError


class RootMeanSquaredError(_OfNumbers):
    """In the target's unit."""

    def _of(self, predictions: Tensor, labels: Tensor) -> float:
        return math.sqrt(float((predictions - labels).square().mean()))

    def contributions(self, predictions: Tensor, labels: Tensor) -> Tensor:
        squares = (predictions.double() - labels.double()).square()
        root = squares.mean().sqrt()
        return (squares + squares.mean()) / (2 * root) if root else squares

    def secondary(self, predictions: Tensor, labels: Tensor) -> dict[str, float]:
        return {"r2": R2().value(predictions, labels)}


class R2(_OfNumbers):
    """The share of the target's variance that the answers explain; negative where its mean would explain more."""

    def undefined(self, labels: Tensor) -> str:
        if len(labels) == 0:
            return "there are none"
        return f"it is {float(labels[0]):.15g} in all of them" if bool((labels == labels[0]).all()) else ""

    def _of(self, predictions: Tensor, labels: Tensor) -> float:
        whole = float((labels - labels.mean()).square().sum())
        # Of equal numbers the mean may be another one, by rounding.
        if not whole or bool((labels == labels[0]).all()):
            return math.nan
        return 1 - float((predictions - labels).square().sum()) / whole

    def contributions(self, predictions: Tensor, labels: Tensor) -> Tensor:
        said, true = predictions.double(), labels.double()
        if math.isnan(self._of(said, true)):
            return torch.full_like(said, math.nan)
        # A ratio of two means.
        above, below = (said - true).square(), (true - true.mean()).square()
        share = above.mean() / below.mean()
        return 1 - above / below.mean() + share * (below / below.mean() - 1)

    def secondary(self, predictions: Tensor, labels: Tensor) -> dict[str, float]:
        return {"rmse": RootMeanSquaredError().value(predictions, labels)}


@dataclass(frozen=True)
class Objective:
    """A loss with its metric, and how many outputs the model has for them.

    What it learns of labels that are numbers is the difference from `offset`, so that 32 bits hold it.
    """

    loss: Loss
    metric: Metric
    outputs: int
    offset: float = 0.0

    def absolute(self, predictions: Tensor) -> Tensor:
        """Answers of a model in training as numbers to be compared with labels: with the offset again, in 64 bits."""
        return predictions.double() + self.offset if self.offset else predictions


def objective_of(metric: str, classes: Sequence[str], offset: float = 0.0) -> Objective:
    """The objective of a task's `metric` on data with these classes.

    Raises:
        InputError: the class of an F1 is none of the data's, or the data has no classes.
    """
    if is_numeric(metric):
        return Objective(SquaredError(offset), {"r2": R2, "rmse": RootMeanSquaredError}[metric](), 1, offset)
    if len(classes) < 2:
        raise InputError(f"{metric} needs at least two classes: there is {', '.join(classes) or 'none'}")
    positive = positive_class(metric)
    if positive is None:
        return Objective(CrossEntropy(len(classes)), Accuracy(), len(classes))
    if positive not in classes:
        raise InputError(f"{metric} is about a class that the data does not have: {', '.join(classes)}")
    return Objective(CrossEntropy(len(classes)), F1(classes.index(positive)), len(classes))
