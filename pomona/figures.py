"""Pictures of data, as PNG files: photos in a grid, lines of text, numbers of a table.

Every figure is made of plain values by one function and written by `save`. None of them goes through pyplot, so that a
notebook keeps its own figures and its own way of showing them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from training.machine.files import atomic_path

from .printable import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
# Of a grid or a listing, in pixels. A character of their text is as wide as this on average.
_WIDTH, _NARROWEST, _LARGEST, _GAP, _LINE, _HEADING, _CHARACTER = 2000, 900, 320, 8, 17, 110, 7
_POINTS = 8
# Of a listing: the width of a letter, as all are of one, in whole pixels, and the letters between two columns.
_LETTER, _BETWEEN = 7, 3
_PANELS_IN_A_ROW = 4


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


@dataclass(frozen=True)
class Listing:
    """Lines of text below a title, in columns with headings."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Panels:
    """Rows of a table: `features` (n, f), and a `target` (n,) each, a number or the place of one of `classes`.

    `names` are those of the features and, last, the target's. `targets` are those of all rows, shown or not.
    """

    title: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    features: NDArray[np.float32 | np.float64]
    target: NDArray[np.float64]
    targets: NDArray[np.float64]


Shown = Grid | Listing | Panels


def picture_of(image: torch.Tensor, *lines: str) -> Picture:
    """A picture of floats (channels, side, side) in 0..1, grey where there is one channel."""
    return Picture(image.expand(3, -1, -1).permute(1, 2, 0).numpy(), lines)


def shortened(text: str, length: int) -> str:
    """`text` in at most `length` characters, its middle left out where it is longer."""
    if len(text) <= length:
        return text
    behind = max(length - 1, 0) // 2
    return f"{text[: max(length - 1 - behind, 0)]}…{text[len(text) - behind :]}"


def figure_of(shown: Shown) -> Figure:
    match shown:
        case Grid():
            return grid_figure(shown)
        case Listing():
            return listing_figure(shown)
        case Panels():
            return panels_figure(shown)


def grid_figure(grid: Grid) -> Figure:
    """Pictures of equal size, 2000 pixels wide in all where there are enough of them."""
    columns = max((len(row.pictures) for row in grid.rows), default=1)
    left = _GAP + (_HEADING if any(row.heading for row in grid.rows) else 0)
    side = min((_WIDTH - left) // columns - _GAP, _LARGEST)
    width = max(left + columns * (side + _GAP), _NARROWEST)
    tops, y = [], 3 * _LINE
    for row in grid.rows:
        y += _LINE * max((len(picture.lines) for picture in row.pictures), default=0)
        tops.append(y)
        y += side + _GAP
    figure, axes = _canvas(grid.title, width, y)
    for row, top in zip(grid.rows, tops, strict=True):
        _write(axes, row.heading, _GAP, top + side / 2)
        for column, picture in enumerate(row.pictures):
            x = left + column * (side + _GAP)
            axes.imshow(picture.pixels, extent=(x, x + side, top + side, top), aspect="auto", vmin=0, vmax=1)
            for number, line in enumerate(reversed(picture.lines)):
                _write(axes, shortened(line, side // _CHARACTER), x, top - (number + 0.5) * _LINE)
    return figure


def listing_figure(listing: Listing) -> Figure:
    """Lines in letters of equal width; the last column is shortened where a line would be wider than 2000 pixels."""
    rows = [tuple(_on_one_line(cell) for cell in row) for row in listing.rows]
    lines = [listing.headings, *rows] if rows else []
    # Where each column begins and ends, in letters.
    places, begin = [], 0
    for column in zip(*lines, strict=True):
        places.append((begin, begin + max(map(len, column))))
        begin = places[-1][1] + _BETWEEN
    room = (_WIDTH - 2 * _GAP) // _LETTER
    letters = min(places[-1][1], room) if places else 0
    width = max(2 * _GAP + letters * _LETTER, _NARROWEST)
    figure, axes = _canvas(listing.title, width, (3 + len(lines)) * _LINE)
    for number, line in enumerate(lines):
        for (first, last), cell in zip(places, line, strict=True):
            x, y = _GAP + first * _LETTER, (3 + number) * _LINE
            _write(
                axes,
                shortened(cell, min(last, room) - first),
                x,
                y,
                family="monospace",
                fontweight="normal" if number else "bold",
            )
    return figure


def panels_figure(panels: Panels) -> Figure:
    """The target against each feature, and how often each value of the target is."""
    from matplotlib.figure import Figure

    *names, target = map(one_line, panels.names)
    rows = -(-(len(names) + 1) // _PANELS_IN_A_ROW)
    columns = min(len(names) + 1, _PANELS_IN_A_ROW)
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows + 0.4), dpi=DPI, layout="constrained")
    figure.suptitle(one_line(panels.title), parse_math=False)
    places = range(len(panels.classes))
    shorter = [shortened(one_line(name), 20) for name in panels.classes]
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.plot(panels.features[:, number], panels.target, "o", markersize=4, alpha=0.4, markeredgewidth=0)
        axes.set_xlabel(name, parse_math=False)
        axes.set_ylabel(target, parse_math=False)
        if panels.classes:
            axes.set_yticks(places, shorter, parse_math=False)
        axes.grid(visible=True, alpha=0.3)
    axes = figure.add_subplot(rows, columns, len(names) + 1)
    if panels.classes:
        axes.bar(places, np.bincount(panels.targets.astype(np.int64), minlength=len(places)))
        axes.set_xticks(places, shorter, parse_math=False)
    else:
        axes.hist(panels.targets, bins=30)
    axes.set_xlabel(target, parse_math=False)
    axes.set_ylabel(f"rows of {len(panels.targets)}")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG file.

    Raises:
        InputError: there is no room or no permission; `path` is as it was.
    """
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A class may be named in a script that the font has not; boxes are shown for it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(temporary, format="png", dpi=DPI, bbox_inches=None)


def _canvas(title: str, width: int, height: int) -> tuple[Figure, Axes]:
    """A figure of so many pixels, measured in them from its upper left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0))
    _write(axes, shortened(title, width // (_CHARACTER + 2)), _GAP, 1.5 * _LINE, fontsize=_POINTS + 3)
    return figure, axes


def _write(axes: Axes, text: str, x: float, y: float, *, fontsize: float = _POINTS, **style: str) -> None:
    # A name may hold dollars, which are no formulas, and what no font can draw.
    axes.text(x, y, one_line(text), fontsize=fontsize, verticalalignment="center", parse_math=False, **style)  # type: ignore[arg-type]


def _on_one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
