"""Pictures of data, of mistakes and of training, as PNG files.

Every figure is made of plain values by one function and written by `save`. None of them goes through pyplot, so that a
notebook keeps its own figures and its own way of showing them.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import InputError, interval_text, value_text
from training import EpochResult, Evaluation, Split, atomic_write_json, wilson
from training.batches import to_floats
from training.checkpoint import CheckpointRecord
from training.evaluate import Mistake, mistakes
from training.files import atomic_path
from training.results import curve_from_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVALUATION_FILES = ("confusion.png", "mistakes.png", "curves.png", "evaluation.json")

_DPI = 100
# Of a grid, in pixels. A character of its text is as wide as this on average.
_WIDTH, _NARROWEST, _LARGEST, _GAP, _LINE, _HEADING, _CHARACTER = 2000, 900, 320, 8, 17, 110, 7
_POINTS = 8
_MISTAKES, _MISTAKES_IN_A_ROW = 24, 8


@dataclass(frozen=True, eq=False)
class Picture:
    """Floats (side, side, 3) in 0..1, with lines of text above them."""

    pixels: NDArray[np.float32]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures beside each other, with a word before them."""

    pictures: tuple[Picture, ...]
    heading: str = ""


@dataclass(frozen=True, eq=False)
class Grid:
    """Rows of pictures below a title."""

    title: str
    rows: tuple[Row, ...]


def picture_of(image: torch.Tensor, *lines: str) -> Picture:
    """A picture of floats (channels, side, side) in 0..1, grey where there is one channel."""
    return Picture(image.expand(3, -1, -1).permute(1, 2, 0).numpy(), lines)


def shortened(text: str, length: int) -> str:
    """`text` in at most `length` characters, its middle left out where it is longer."""
    if len(text) <= length:
        return text
    behind = max(length - 1, 0) // 2
    return f"{text[: max(length - 1 - behind, 0)]}…{text[len(text) - behind :]}"


def grid_figure(grid: Grid) -> Figure:
    """Pictures of equal size, 2000 pixels wide in all where there are enough of them."""
    from matplotlib.figure import Figure

    columns = max((len(row.pictures) for row in grid.rows), default=1)
    left = _GAP + (_HEADING if any(row.heading for row in grid.rows) else 0)
    side = min((_WIDTH - left) // columns - _GAP, _LARGEST)
    width = max(left + columns * (side + _GAP), _NARROWEST)
    tops, y = [], 3 * _LINE
    for row in grid.rows:
        y += _LINE * max((len(picture.lines) for picture in row.pictures), default=0)
        tops.append(y)
        y += side + _GAP
    figure = Figure(figsize=(width / _DPI, y / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(y, 0))

    def write(text: str, x: float, y: float, points: int = _POINTS) -> None:
        # A name may hold dollars, which are no formulas.
        axes.text(x, y, text, fontsize=points, verticalalignment="center", parse_math=False)

    write(shortened(grid.title, width // (_CHARACTER + 2)), _GAP, 1.5 * _LINE, _POINTS + 3)
    for row, top in zip(grid.rows, tops, strict=True):
        write(row.heading, _GAP, top + side / 2)
        for column, picture in enumerate(row.pictures):
            x = left + column * (side + _GAP)
            axes.imshow(picture.pixels, extent=(x, x + side, top + side, top), aspect="auto", vmin=0, vmax=1)
            for number, line in enumerate(reversed(picture.lines)):
                write(shortened(line, side // _CHARACTER), x, top - (number + 0.5) * _LINE)
    return figure


def confusion_figure(evaluation: Evaluation, title: str) -> Figure:
    """Counts, a row for each true class, shaded by their share of the row; cells without an image stay empty."""
    from matplotlib.figure import Figure

    counts = np.array(evaluation.confusion)
    images = counts.sum(1)
    shares = counts / np.maximum(images, 1)[:, None]
    side = min(max(5, 3.5 + 0.6 * len(counts)), 40)
    figure = Figure(figsize=(side + 1.5, side), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    shading = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [shortened(name, 40) for name in evaluation.classes]
    axes.set_xticks(
        range(len(names)), names, rotation=45, horizontalalignment="right", rotation_mode="anchor", parse_math=False
    )
    true = [f"{name} ({n})" for name, n in zip(names, images, strict=True)]
    axes.set_yticks(range(len(names)), true, parse_math=False)
    axes.set(xlabel="taken for", ylabel="true class (images)")
    axes.set_title(title, parse_math=False, wrap=True)
    for i, j in zip(*counts.nonzero(), strict=True):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), color=colour, ha="center", va="center")
    figure.colorbar(shading, label="share of the true class", shrink=0.7)
    return figure


def phase_changes(curve: Sequence[EpochResult]) -> list[tuple[int, int]]:
    """The epochs from which on another number of stages trains, each with that number."""
    return [
        (after.epoch, after.trained_stages)
        for before, after in itertools.pairwise(curve)
        if before.trained_stages != after.trained_stages
    ]


def curves_figure(curve: Sequence[EpochResult], n: int, title: str) -> Figure:
    """Losses of training and validation, and the accuracy on the `n` validation images, epoch by epoch."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 5), dpi=_DPI, layout="constrained")
    figure.suptitle(title, parse_math=False)
    losses, accuracies = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in curve]
    losses.plot(epochs, [epoch.loss for epoch in curve], "o-", label="training")
    losses.plot(epochs, [epoch.valid_loss for epoch in curve], "s-", label="validation")
    losses.set(ylabel="mean loss (nats)")
    shares = [wilson(epoch.value, n) for epoch in curve]
    below, above = ([s.value - s.low for s in shares], [s.high - s.value for s in shares])
    accuracies.errorbar(
        epochs,
        [100 * share.value for share in shares],
        yerr=100 * np.array([below, above]),
        fmt="s-",
        color="C1",
        capsize=3,
        label=f"validation, n = {n}, 95 % interval",
    )
    accuracies.set(ylabel="accuracy (%)")
    for axes in (losses, accuracies):
        for epoch, stages in phase_changes(curve):
            label = f"from epoch {epoch}: {stages} stage{'s' if stages != 1 else ''} of the backbone too"
            axes.axvline(epoch - 0.5, color="0.4", linestyle="--", label=label)
        axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    return figure


def mistakes_grid(found: Sequence[Mistake], split: Split, title: str) -> Grid:
    """The first of `found` with what they are, what they were taken for and the name of their file."""
    shown = found[:_MISTAKES]
    if not shown:
        return Grid(f"{title}: no mistakes, all {len(split)} are right", ())
    images = to_floats(split.take(torch.tensor([mistake.index for mistake in shown]))[0], torch.device("cpu"))
    pictures = [
        picture_of(
            image,
            mistake.true,
            f"taken for {mistake.predicted}, {100 * mistake.probability:.1f} %",
            Path(mistake.name).name,
        )
        for image, mistake in zip(images, shown, strict=True)
    ]
    rows = tuple(
        Row(tuple(pictures[start : start + _MISTAKES_IN_A_ROW]))
        for start in range(0, len(pictures), _MISTAKES_IN_A_ROW)
    )
    return Grid(f"{title}: {len(shown)} of {len(found)} mistakes, the most confident first", rows)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG file.

    Raises:
        InputError: there is no room or no permission; `path` is as it was.
    """
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A class may be named in a script that the font has not; boxes are shown for it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(temporary, format="png", dpi=_DPI, bbox_inches=None)


def check_folder(folder: Path) -> None:
    """Raises InputError where `folder` can't be one because something else has its name."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the figures")


def write_evaluation(folder: Path, evaluation: Evaluation, split: Split, record: CheckpointRecord, data: str) -> None:
    """Writes `EVALUATION_FILES` into `folder`; `data` says in their titles what was scored.

    Raises:
        InputError: there is no room or no permission.
    """
    metric, score = evaluation.metric, evaluation.score
    interval = interval_text(metric, score.ci95)
    title = f"{data}: {metric} {value_text(metric, score.value)} ({interval}), n = {score.n}"
    found = mistakes(evaluation, split)
    confusion, wrong, curves, summary = (folder / name for name in EVALUATION_FILES)
    save(confusion_figure(evaluation, title), confusion)
    save(grid_figure(mistakes_grid(found, split, title)), wrong)
    trained = f"{record.task}, trained on {record.source}, seed {record.seed}"
    save(curves_figure(curve_from_json(record.curve), record.n, trained), curves)
    atomic_write_json(summary, evaluation.to_json() | {"mistakes": [asdict(mistake) for mistake in found]})
