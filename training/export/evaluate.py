"""A checkpoint against labelled examples, and its answers for examples without labels."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ..data import Kind, unlabelled
from ..data.batches import evaluation_batches
from ..data.packed import pack
from ..data.splits import Split
from ..lanes.checkpoint import Checkpoint
from ..models.classifier import Classifier
from ..models.ensemble import Ensemble
from ..models.numerics import Numerics
from ..scoring.intervals import Estimate, accuracy
from ..scoring.objectives import Metric

_TIMED_EXAMPLES, _TIMED_ROUNDS = 32, 5


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint is worth on a split, by its task's metric.

    `score` is the metric's value, `grouped` the same with groups as independent samples, and `secondary` what other
    metrics say.
    `accuracy`, `per_class` and `confusion` are of classes, and None or empty where labels are numbers:
    `confusion[i][j]` counts examples of class i taken for class j.
    Of the `score.n` examples `n_trained_on` were trained on, None where that is not known; `n_trained_on_left_out`
    others were not scored because they were trained on.
    `outputs` are what the model answered, in the split's order and on the CPU: logits (n, classes) or numbers (n, 1).
    They are no part of the JSON. `note` says why the metric has no value on these labels, where it has none.
    """

    metric: str
    score: Estimate
    grouped: Estimate | None
    secondary: dict[str, float]
    accuracy: Estimate | None
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    classes: tuple[str, ...]
    outputs: torch.Tensor = field(repr=False, compare=False)
    n_trained_on: int | None = None
    n_trained_on_left_out: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"metric": self.metric, "value": self.score.value, "n": self.score.n}
        answer |= {"ci95": list(self.score.ci95), **self.secondary}
        answer |= {"n_trained_on": self.n_trained_on, "n_trained_on_left_out": self.n_trained_on_left_out}
        if self.accuracy is not None:
            answer |= {
                "accuracy": self.accuracy.value,
                "per_class": self.per_class,
                "confusion": self.confusion,
                "classes": list(self.classes),
            }
        if self.grouped is not None:
            answer |= {
                f"group_{self.metric}": self.grouped.value,
                "n_groups": self.grouped.n,
                "groups_ci95": list(self.grouped.ci95),
            }
        return answer


def evaluate(checkpoint: Checkpoint, split: Split, device: torch.device) -> Evaluation:
    """Scores all of `split`, whose labels count in the checkpoint's own order of classes."""
    record, metric = checkpoint.record, checkpoint.objective.metric
    outputs = predict_outputs(checkpoint.classifier(device), split, device, record.numerics)
    predictions = metric.predictions(outputs)
    undefined = metric.undefined(split.labels)
    classes = _of_classes(predictions, split, record.classes) if record.classes else {}
    return Evaluation(
        metric=record.metric,
        score=score_of(metric, predictions, split.labels),
        grouped=metric.grouped(predictions, split.labels, split.groups),
        secondary=metric.secondary(predictions, split.labels),
        accuracy=classes.get("accuracy"),
        per_class=classes.get("per_class", {}),
        confusion=classes.get("confusion", []),
        classes=record.classes,
        outputs=outputs,
        note=f"{record.metric} is not defined on these {len(split)} examples: {undefined}" if undefined else "",
    )


def score_of(metric: Metric, predictions: torch.Tensor, labels: torch.Tensor) -> Estimate:
    """The metric's estimate; where it is not defined on these labels, no number with an interval of all numbers."""
    if metric.undefined(labels):
        return Estimate(math.nan, len(labels), -math.inf, math.inf)
    return metric.estimate(predictions, labels)


def _of_classes(predictions: torch.Tensor, split: Split, classes: tuple[str, ...]) -> dict[str, Any]:
    predicted, labels = predictions.numpy(), split.labels.numpy()
    numbers = list(range(len(classes)))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0)
    return {
        "accuracy": accuracy((predictions == split.labels).tolist()),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        },
        "confusion": confusion_matrix(labels, predicted, labels=numbers).tolist(),
    }


@dataclass(frozen=True)
class Prediction:
    """The answer for one example; `path` says where it comes from.

    Of classes the likeliest one as `label`, its probability, and that of every class; else a number as `value`.
    """

    path: str
    label: str = ""
    probability: float = 0.0
    probabilities: dict[str, float] = field(default_factory=dict)
    value: float | None = None


def predict(checkpoint: Checkpoint, paths: Sequence[Path], device: torch.device) -> list[Prediction]:
    """The answers for image files, for the lines of text files, or for the rows of CSV files.

    Raises:
        InputError: a file is not there, or not what the checkpoint was trained on.
    """
    record = checkpoint.record
    split = pack({side: _unlabelled_split(record.kind, paths, side) for side in checkpoint.resolutions})
    outputs = predict_outputs(checkpoint.classifier(device), split, device, record.numerics)
    if not record.classes:
        values = outputs[:, 0].tolist()
        return [Prediction(name, value=value) for name, value in zip(split.names, values, strict=True)]
    names, predictions = split.names, []
    for name, row in zip(names, outputs.softmax(1).tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        named = dict(zip(record.classes, row, strict=True))
        predictions.append(Prediction(name, record.classes[best], row[best], named))
    return predictions


def seconds_per_example(checkpoint: Checkpoint, split: Split, device: torch.device) -> float:
    """What an answer takes, by the median of a few batches of `split`, after one that warms up."""
    model, numerics = checkpoint.classifier(device), checkpoint.record.numerics
    batch = split.subset(torch.arange(len(split)) < _TIMED_EXAMPLES)
    taken = []
    for _ in range(1 + _TIMED_ROUNDS):
        started = time.perf_counter()
        predict_outputs(model, batch, device, numerics)
        taken.append((time.perf_counter() - started) / len(batch))
    return statistics.median(taken[1:])


def _unlabelled_split(kind: Kind, paths: Sequence[Path], resolution: int) -> Split:
    inputs, names = unlabelled(kind, paths, resolution)
    return Split(inputs, torch.arange(len(inputs)), torch.zeros(len(inputs), dtype=torch.int64), (), names)


@torch.inference_mode()
def predict_outputs(
    model: Classifier | Ensemble, split: Split, device: torch.device, numerics: Numerics
) -> torch.Tensor:
    """Logits (n, classes), or numbers (n, 1), of a split in its order, on the CPU.

    The model is left in evaluation mode.
    """
    model.eval()
    parts = []
    for stored in evaluation_batches(split, device):
        parts.append(model.answers(stored, numerics).cpu())
    return torch.cat(parts)
