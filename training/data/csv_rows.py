"""Rows of CSV files: which cells are meant, and the numbers that they hold, as 64-bit floats."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError

from .accents import composed

_LARGEST = float(np.finfo(np.float32).max)
# Every 64-bit float holds so many decimal digits.
_DIGITS = 15
_EXCEL_SEPARATOR = re.compile(r"sep=([,;\t|])[\r\n]*")
_COMMAS = re.compile(r"[+-]?[\d.,' ]*,[\d.,' ]*")


@dataclass(frozen=True)
class Cells:
    """Of each row of a file the number of its first line, and its cells of the columns that were asked for.

    `unused` are the names of the other columns.
    """

    rows: list[tuple[int, list[str]]]
    unused: tuple[str, ...]

    def columns(self, first: int, last: int) -> list[tuple[int, list[str]]]:
        """The rows with the cells `first` to `last` - 1."""
        return [(line, row[first:last]) for line, row in self.rows]


def csv_file(path: Path) -> Path:
    """`path`, or the one CSV file in the folder `path`.

    Raises:
        InputError: there is none, or there are several.
    """
    # Not Path.is_file(), which raises where a name is too long or a folder may not be looked into.
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise InputError(f"{path} is not there: name a CSV file, or a folder that holds one")
    try:
        found = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv" and os.path.isfile(file))
    except OSError as problem:
        raise InputError(f"{path} can't be read: {problem.strerror}") from None
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} CSV files: name one of them, or a folder with one")
    return found[0]


def read_cells(file: Path, columns: Sequence[str]) -> Cells:
    """The cells of `columns`, found by the names in the first line that has any; empty lines are no rows.

    Names may differ in case, in blanks around them, and in blanks or hyphens for underscores, and in how accents are
    encoded.

    Raises:
        InputError: the file can't be read as CSV in UTF-8, lacks a column, or has no rows.
    """
    found: list[tuple[int, list[str]]] = []
    line = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader, before = _reader(text)
            header = next((names for row in reader if any(names := [name.strip() for name in row])), [])
            line = max(before + reader.line_num, 1)
            places = [_place(file, line, header, column) for column in columns]
            line = before + reader.line_num + 1
            for row in reader:
                if row and len(row) != len(header):
                    raise InputError(f"{file} line {line}: {len(row)} cells, but {len(header)} columns: fix the line")
                if row:
                    found.append((line, [row[place].strip() for place in places]))
                line = before + reader.line_num + 1
    except csv.Error as problem:
        raise InputError(f"{file} line {line} can't be read as CSV ({problem}): fix its quotes") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{file} can't be read as CSV in UTF-8 ({problem}): save it as that") from None
    if not found:
        raise InputError(f"{file} holds no rows below its header: name a file that does")
    return Cells(found, tuple(name for place, name in enumerate(header) if place not in places))


def _reader(text: TextIO) -> tuple[Any, int]:
    """The rows of an open file, and how many of its lines they leave out: Excel names the separator in the first."""
    first = text.readline()
    told = _EXCEL_SEPARATOR.fullmatch(first)
    lines = text if told else itertools.chain([first], text)
    # Strict, as a quote that is not closed would swallow the rows up to the next one.
    return csv.reader(lines, delimiter=told[1] if told else ",", strict=True), 1 if told else 0


def _place(file: Path, line: int, header: Sequence[str], column: str) -> int:
    places = [place for place, name in enumerate(header) if name == column]
    if not places:
        places = [place for place, name in enumerate(header) if _plain(name) == _plain(column)]
    if len(places) == 1:
        return places[0]
    if not places and (other := _other_separator(header, column)):
        raise InputError(
            f"{file} line {line}: no column {column!r}, the cells are separated by {other!r}: save it with commas "
            "between cells and points in numbers"
        )
    how = "several columns" if places else "no column"
    raise InputError(f"{file} line {line}: {how} {column!r}, there are {', '.join(header)}: rename the columns")


def _other_separator(header: Sequence[str], column: str) -> str:
    """What else than commas seems to separate the cells of a header without `column`; empty where nothing does."""
    for mark in ";\t|":
        names = [name.strip(' "') for name in ",".join(header).split(mark)]
        if len(names) >= max(len(header), 2) and (len(header) == 1 or _plain(column) in map(_plain, names)):
            return mark
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", composed(name.casefold()))


def numbers_of(file: Path, rows: Sequence[tuple[int, Sequence[str]]], columns: Sequence[str]) -> NDArray[np.float64]:
    """Cells as numbers (n, len(columns)).

    Raises:
        InputError: a cell is no finite number, or too large for 32 bits.
    """
    values = [[_number(file, line, *pair) for pair in zip(columns, row, strict=True)] for line, row in rows]
    # Zero has two signs, and one key.
    return np.array(values, np.float64).reshape(len(rows), len(columns)) + 0.0


def _number(file: Path, line: int, column: str, cell: str) -> float:
    try:
        # Python takes 1_000 for 1000; no program writes that.
        value = float("nan") if "_" in cell else float(cell)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST:
        way = "write it without commas, as 1234.5" if _COMMAS.fullmatch(cell) else "fix it, or remove the row"
        raise InputError(f"{file} line {line}: {column} is {cell!r}, no finite number: {way}")
    return value


def lost_digits(rows: Sequence[tuple[int, Sequence[str]]], columns: Sequence[str]) -> list[str]:
    """A sentence for each column with cells that are different numbers but equal 64-bit floats."""
    found = []
    for place, column in enumerate(columns):
        same: defaultdict[float, set[Decimal]] = defaultdict(set)
        for _, row in rows:
            if len(row[place]) > _DIGITS:
                same[float(row[place])].add(Decimal(row[place]))
        if merged := sum(len(different) for different in same.values() if len(different) > 1):
            found.append(
                f"{merged} values of {column} differ only beyond the digits that 64-bit floats hold, and count as "
                "equal: subtract a constant in the file"
            )
    return found
