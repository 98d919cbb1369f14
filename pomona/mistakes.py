"""What a checkpoint got wrong, example by example."""

from __future__ import annotations

from dataclasses import dataclass

from training import Evaluation, Split


@dataclass(frozen=True)
class Mistake:
    """An example that was taken for another class with `probability`; `index` is its place in the split."""

    index: int
    name: str
    true: str
    predicted: str
    probability: float


def mistakes(evaluation: Evaluation, split: Split) -> list[Mistake]:
    """Every wrong answer, the most confident first; `split` is the one that was scored, and has classes."""
    predictions, predicted = evaluation.outputs.softmax(1), evaluation.outputs.argmax(1)
    wrong = (predicted != split.labels).nonzero().flatten()
    confidence = predictions[wrong, predicted[wrong]]
    return [
        Mistake(
            index=index,
            name=split.names[index],
            true=evaluation.classes[int(split.labels[index])],
            predicted=evaluation.classes[int(predicted[index])],
            probability=float(predictions[index, predicted[index]]),
        )
        for index in wrong[confidence.argsort(descending=True, stable=True)].tolist()
    ]


@dataclass(frozen=True)
class Residual:
    """An example whose number was missed by `predicted - true`; `index` is its place in the split."""

    index: int
    name: str
    true: float
    predicted: float


def residuals(evaluation: Evaluation, split: Split) -> list[Residual]:
    """Every example, the worst missed first; `split` is the one that was scored, and its labels are numbers."""
    predicted = evaluation.outputs[:, 0]
    order = (predicted - split.labels).abs().argsort(descending=True, stable=True)
    return [
        Residual(index, split.names[index], float(split.labels[index]), float(predicted[index]))
        for index in order.tolist()
    ]
