"""Pictures of what a checkpoint got right and wrong, and of its training, as PNG files with the figures beside them."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from search_spaces import InputError, interval_text, is_numeric, value_text
from training import EpochResult, Evaluation, Split, wilson, write_versioned_json
from training.data import modality_named
from training.data.previews import Pictures
from training.lanes.checkpoint import CheckpointRecord
from training.lanes.results import curve_from_json
from training.machine.display import number_text
from training.machine.files import write_error

from .figures import DPI, Grid, Listing, Row, Shown, figure_of, picture_of, save, shortened
from .mistakes import Mistake, Residual, mistakes, residuals
from .printable import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORST, _IN_A_ROW = 24, 8
_LONGEST_NAME = 40


def evaluation_files(evaluation: Evaluation) -> tuple[str, ...]:
    """The files that `write_evaluation` writes."""
    predictions = "confusion.png" if evaluation.classes else "predicted.png"
    return predictions, "mistakes.png", "curves.png", "evaluation.json"


def check_folder(folder: Path) -> None:
    """Raises InputError where no figures can be written into `folder`, so that nothing is scored for nothing."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(there):
        raise InputError(f"{there} is a file: name a folder for the figures")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(folder)
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as problem:
        raise write_error(folder, problem) from None


def write_evaluation(
    folder: Path, evaluation: Evaluation, split: Split, record: CheckpointRecord, data: str, curve_of: str = ""
) -> None:
    """Writes `evaluation_files` into `folder`; `data` says in their titles what was scored.

    `curve_of` says which of several models that answer as one the curves are of.

    Raises:
        InputError: there is no room or no permission.
    """
    metric, score = evaluation.metric, evaluation.score
    interval = interval_text(metric, score.ci95)
    title = f"{data}: {metric} {value_text(metric, score.value)} ({interval}), n = {score.n}"
    payload: dict[str, Any]
    if evaluation.classes:
        found = mistakes(evaluation, split)
        predictions, wrong = confusion_figure(evaluation, title), _mistakes_shown(found, split, record, title)
        payload = {"mistakes": [asdict(mistake) for mistake in found]}
    else:
        missed = residuals(evaluation, split)
        named = _described(split, [residual.index for residual in missed[:_WORST]], record)
        target = record.columns[-1] if record.columns else "value"
        predictions, wrong = predicted_figure(missed, target, title), residuals_listing(missed, named, title)
        payload = {"residuals": [asdict(residual) for residual in missed]}
    trained = f"{record.task}, trained on {record.source}, seed {record.seed}"
    trained += f", {curve_of}" if curve_of else ""
    curves = curves_figure(curve_from_json(record.curve), metric, record.n, trained)
    *pictures, summary = (folder / name for name in evaluation_files(evaluation))
    for figure, path in zip((predictions, figure_of(wrong), curves), pictures, strict=True):
        save(figure, path)
    write_versioned_json(summary, evaluation.to_json() | payload)


def _mistakes_shown(found: Sequence[Mistake], split: Split, record: CheckpointRecord, title: str) -> Shown:
    """As pictures where the examples can be shown as such, else in lines."""
    index = [mistake.index for mistake in found[:_WORST]]
    preview = modality_named(record.modality).preview(
        split, torch.tensor(index, dtype=torch.int64), record.classes, record.columns
    )
    if isinstance(preview, Pictures):
        return mistakes_grid(found, preview, len(split), title)
    return mistakes_listing(found, _described(split, index, record), len(split), title)


def _described(split: Split, index: Sequence[int], record: CheckpointRecord) -> list[str]:
    modality = modality_named(record.modality)
    return [modality.described(split, place, record.columns) for place in index]


def confusion_figure(evaluation: Evaluation, title: str) -> Figure:
    """Counts, a row for each true class, shaded by their share of the row; cells without an example stay empty."""
    from matplotlib.figure import Figure

    counts = np.array(evaluation.confusion)
    examples = counts.sum(1)
    shares = counts / np.maximum(examples, 1)[:, None]
    side = min(max(5, 3.5 + 0.6 * len(counts)), 40)
    figure = Figure(figsize=(side + 1.5, side), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    shading = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [shortened(one_line(name), _LONGEST_NAME) for name in evaluation.classes]
    axes.set_xticks(
        range(len(names)), names, rotation=45, horizontalalignment="right", rotation_mode="anchor", parse_math=False
    )
    true = [f"{name} ({n})" for name, n in zip(names, examples, strict=True)]
    axes.set_yticks(range(len(names)), true, parse_math=False)
    axes.set(xlabel="taken for", ylabel="true class (examples)")
    axes.set_title(one_line(title), parse_math=False, wrap=True)
    for i, j in zip(*counts.nonzero(), strict=True):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), color=colour, ha="center", va="center")
    figure.colorbar(shading, label="share of the true class", shrink=0.7)
    return figure


def predicted_figure(found: Sequence[Residual], target: str, title: str) -> Figure:
    """Predicted against true values, where the diagonal is right, and how far off they are against the true ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), dpi=DPI, layout="constrained")
    figure.suptitle(one_line(title), parse_math=False)
    predictions, misses = figure.subplots(1, 2)
    target = one_line(target)
    true = np.array([residual.true for residual in found])
    predicted = np.array([residual.predicted for residual in found])
    dots = {"markersize": 4, "alpha": 0.5, "markeredgewidth": 0}
    predictions.plot(true, predicted, "o", **dots)
    ends = [true.min(), true.max()]
    predictions.plot(ends, ends, color="0.4", linestyle="--", label="right")
    predictions.legend()
    misses.plot(true, predicted - true, "o", **dots)
    misses.axhline(0, color="0.4", linestyle="--")
    for axes, label in ((predictions, f"{target}, predicted"), (misses, f"{target}, predicted less true")):
        axes.set_xlabel(f"{target}, true", parse_math=False)
        axes.set_ylabel(label, parse_math=False)
        axes.grid(visible=True, alpha=0.3)
    return figure


def phase_changes(curve: Sequence[EpochResult]) -> list[tuple[int, int]]:
    """The epochs from which on another number of stages trains, each with that number."""
    return [
        (after.epoch, after.trained_stages)
        for before, after in itertools.pairwise(curve)
        if before.trained_stages != after.trained_stages
    ]


def curves_figure(curve: Sequence[EpochResult], metric: str, n: int, title: str) -> Figure:
    """Losses of training and validation, and the metric on the `n` validation examples, epoch by epoch.

    An accuracy comes with its interval. Of other metrics a curve holds nothing that one could be made of.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 5), dpi=DPI, layout="constrained")
    figure.suptitle(one_line(title), parse_math=False)
    losses, values = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in curve]
    losses.plot(epochs, [epoch.loss for epoch in curve], "o-", label="training")
    losses.plot(epochs, [epoch.valid_loss for epoch in curve], "s-", label="validation")
    if metric == "accuracy":
        shares = [wilson(epoch.value, n) for epoch in curve]
        below, above = ([s.value - s.low for s in shares], [s.high - s.value for s in shares])
        values.errorbar(
            epochs,
            [100 * share.value for share in shares],
            yerr=100 * np.array([below, above]),
            fmt="s-",
            color="C1",
            capsize=3,
            label=f"validation, n = {n}, 95 % interval",
        )
    else:
        unit = 1 if is_numeric(metric) else 100
        values.plot(epochs, [unit * epoch.value for epoch in curve], "s-", color="C1", label=f"validation, n = {n}")
    values.set_ylabel(one_line(metric if is_numeric(metric) else f"{metric} (%)"), parse_math=False)
    if is_numeric(metric):
        # Squares fall by orders of magnitude.
        losses.set(ylabel="mean squared error", yscale="log")
        values.ticklabel_format(axis="y", useOffset=False)
    else:
        losses.set(ylabel="mean loss (nats)")
    for axes in (losses, values):
        for epoch, stages in phase_changes(curve):
            label = f"from epoch {epoch}: {stages} stage{'s' if stages != 1 else ''} of the backbone too"
            axes.axvline(epoch - 0.5, color="0.4", linestyle="--", label=label)
        axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    return figure


def mistakes_grid(found: Sequence[Mistake], shown: Pictures, n: int, title: str) -> Grid:
    """The first of `found` of `n` examples, which are `shown`: what they are, what they were taken for, their file."""
    pictures = [
        picture_of(
            image,
            mistake.true,
            f"taken for {mistake.predicted}, {100 * mistake.probability:.1f} %",
            Path(mistake.name).name,
        )
        for image, mistake in zip(shown.images, found[:_WORST], strict=True)
    ]
    rows = tuple(Row(tuple(pictures[start : start + _IN_A_ROW])) for start in range(0, len(pictures), _IN_A_ROW))
    return Grid(_mistakes_title(found, n, title), rows)


def mistakes_listing(found: Sequence[Mistake], named: Sequence[str], n: int, title: str) -> Listing:
    """The first of `found` of `n` examples, with what `named` says of each."""
    rows = tuple(
        (
            shortened(mistake.true, _LONGEST_NAME),
            shortened(mistake.predicted, _LONGEST_NAME),
            f"{100 * mistake.probability:.1f}",
            name,
        )
        for mistake, name in zip(found[:_WORST], named, strict=True)
    )
    return Listing(_mistakes_title(found, n, title), ("true", "taken for", "probability %", "example"), rows)


def _mistakes_title(found: Sequence[Mistake], n: int, title: str) -> str:
    if not found:
        return f"{title}: no mistakes, all {n} are right"
    return f"{title}: {min(len(found), _WORST)} of {len(found)} mistakes, the most confident first"


def residuals_listing(found: Sequence[Residual], named: Sequence[str], title: str) -> Listing:
    """The first of `found`, which are the worst, with what `named` says of each."""
    rows = tuple(
        (
            number_text(residual.true),
            number_text(residual.predicted),
            f"{residual.predicted - residual.true:+.3g}",
            name,
        )
        for residual, name in zip(found[:_WORST], named, strict=True)
    )
    return Listing(f"{title}: the worst {len(rows)} of {len(found)}", ("true", "predicted", "off by", "example"), rows)
