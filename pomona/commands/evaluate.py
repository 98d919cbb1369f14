"""`pomona evaluate`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces import interval_text, value_text

from ..console import counting, note, print_json, print_lines, print_table
from .options import AsJson, Checkpoint, Device, SkipUnreadable, TrustSplit

if TYPE_CHECKING:
    from training import Evaluation


def evaluate(
    checkpoint: Checkpoint,
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR|FILE", help="Data with splits, or a folder of class folders. [default: as trained]"),
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="train, valid or test. [default: valid]")] = None,
    device: Device = "auto",
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw the confusion matrix, the worst mistakes and the training there."),
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    trust_split: TrustSplit = False,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint on labelled data: its metric with the interval, precision and recall, the confusion matrix.

    Example: pomona evaluate checkpoints/fruit-1 --data photos --json
    """
    from ..evaluation_figures import evaluation_files
    from ..use import evaluate_checkpoint

    with counting("reading the photos") as progress:
        result = evaluate_checkpoint(
            checkpoint,
            data,
            split,
            device,
            skip_unreadable,
            progress,
            figures,
            trust_split=trust_split,
            notify=note,
        )
    drawn = [] if figures is None else [str(figures / name) for name in evaluation_files(result)]
    if as_json:
        payload = result.to_json() | ({"figures": drawn} if drawn else {})
        print_json(payload)
        return
    metric, score = result.metric, result.score
    others = "".join(f", {name} {value_text(name, value)}" for name, value in result.secondary.items())
    value, interval = value_text(metric, score.value), interval_text(metric, score.ci95)
    print_lines([f"{metric} {value}, n = {score.n}, {interval}{others}"])
    if result.grouped is not None:
        value, interval = value_text(metric, result.grouped.value), interval_text(metric, result.grouped.ci95)
        print_lines([f"by groups {value}, {result.grouped.n} groups, {interval}"])
    if result.classes:
        _print_classes(result)
    if drawn:
        print_lines(["", f"written: {', '.join(drawn)}"])


def _print_classes(result: Evaluation) -> None:
    rows = [
        [name, *(f"{100 * scores[key]:.1f}" for key in ("precision", "recall", "f1")), str(scores["support"])]
        for name, scores in result.per_class.items()
    ]
    print_table(["class", "precision %", "recall %", "F1 %", "n"], rows)
    print_lines(["", "rows: the true class; columns: what it was taken for"])
    rows = [[name, *map(str, counts)] for name, counts in zip(result.classes, result.confusion, strict=True)]
    print_table(["", *result.classes], rows)
