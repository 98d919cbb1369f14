"""A checkpoint against labelled images, and its answers for images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from .batches import evaluation_batches
from .checkpoint import Checkpoint
from .data import read_photos
from .data.splits import Split
from .intervals import Proportion, accuracy, grouped_accuracy
from .model import Classifier
from .numerics import Numerics


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint is worth on a split. `confusion[i][j]` counts images of class i taken for class j.

    `logits` (n, classes) are what it answered, in the split's order, on the CPU; no part of the JSON.
    """

    accuracy: Proportion
    grouped: Proportion | None
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    classes: tuple[str, ...]
    logits: torch.Tensor = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "accuracy": self.accuracy.value,
            "n": self.accuracy.n,
            "ci95": list(self.accuracy.ci95),
            "per_class": self.per_class,
            "confusion": self.confusion,
            "classes": list(self.classes),
        }
        if self.grouped is not None:
            answer |= {
                "group_accuracy": self.grouped.value,
                "n_groups": self.grouped.n,
                "groups_ci95": list(self.grouped.ci95),
            }
        return answer


def evaluate(checkpoint: Checkpoint, split: Split, device: torch.device) -> Evaluation:
    """Scores `split`, whose labels count in the checkpoint's own order of classes."""
    classes = checkpoint.record.classes
    logits = predict_logits(
        checkpoint.classifier(as_trained=device.type == "cpu").to(device), split, device, checkpoint.record.numerics
    )
    predicted, labels = logits.argmax(1).numpy(), split.labels.numpy()
    numbers = list(range(len(classes)))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0)
    correct = [bool(right) for right in predicted == labels]
    return Evaluation(
        accuracy=accuracy(correct),
        grouped=grouped_accuracy(correct, split.groups) if split.groups else None,
        per_class={
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        },
        confusion=confusion_matrix(labels, predicted, labels=numbers).tolist(),
        classes=classes,
        logits=logits,
    )


@dataclass(frozen=True)
class Mistake:
    """An example that was taken for another class with `probability`; `index` is its place in the split."""

    index: int
    name: str
    true: str
    predicted: str
    probability: float


def mistakes(evaluation: Evaluation, split: Split) -> list[Mistake]:
    """Every wrong answer, the most confident first; `split` is the one that was scored."""
    answers, predicted = evaluation.logits.softmax(1), evaluation.logits.argmax(1)
    wrong = (predicted != split.labels).nonzero().flatten()
    confidence = answers[wrong, predicted[wrong]]
    return [
        Mistake(
            index=index,
            name=split.names[index],
            true=evaluation.classes[int(split.labels[index])],
            predicted=evaluation.classes[int(predicted[index])],
            probability=float(answers[index, predicted[index]]),
        )
        for index in wrong[confidence.argsort(descending=True, stable=True)].tolist()
    ]


@dataclass(frozen=True)
class Prediction:
    """The answer for one image: the likeliest class, its probability, and that of every class."""

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]


def predict(checkpoint: Checkpoint, paths: Sequence[Path], device: torch.device) -> list[Prediction]:
    """The answers for image files.

    Raises:
        InputError: a file is not there or not an image.
    """
    images = read_photos(paths, checkpoint.record.resolution)
    rows = torch.arange(len(images))
    split = Split(images, rows, torch.zeros(len(images), dtype=torch.int64), (), tuple(str(path) for path in paths))
    logits = predict_logits(
        checkpoint.classifier(as_trained=device.type == "cpu").to(device), split, device, checkpoint.record.numerics
    )
    answers = []
    for path, row in zip(paths, logits.softmax(1).tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        named = dict(zip(checkpoint.record.classes, row, strict=True))
        answers.append(Prediction(str(path), checkpoint.record.classes[best], row[best], named))
    return answers


@torch.inference_mode()
def predict_logits(model: Classifier, split: Split, device: torch.device, numerics: Numerics) -> torch.Tensor:
    """Logits (n, classes) of a split in its order, on the CPU; the model is left in evaluation mode."""
    model.eval()
    parts = []
    for images in evaluation_batches(split, device, model.resolution, model.channels):
        normalised = model.normalise(images).contiguous(memory_format=numerics.memory_format)
        with numerics.autocast(device):
            features = model.suffix(normalised, 0)
        parts.append(model.head(features).cpu())
    return torch.cat(parts)
