"""Tables: rows of numbers in a CSV file, and what is to be told from them, a number or a class."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import InputError

from .dividing import divide
from .splits import Split, Splits, counts_of, identities_of, short_digest

GENERATED = "generated"
_BONUS = ("performance", "years_of_experience", "projects_completed", "bonus")
_VALID = 5  # one row in so many
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class TableSet:
    """Features (n, f) with a target (n,) each: float32, or int64 where the target is one of `classes`.

    `rows` are those of each split; rows of equal features are in one of them. `identities` are as in `Split`.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32] | NDArray[np.int64]
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    identities: torch.Tensor
    rows: Mapping[str, NDArray[np.int64]]
    source: str
    location: str

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """For each row, what stands for its features."""
        return _keys(self.features)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with contents, columns and split."""
        digest = hashlib.sha256(self.features.tobytes())
        for values in (self.targets, *self.rows.values()):
            digest.update(values.tobytes())
        return short_digest([digest.hexdigest(), list(self.columns), list(self.classes)])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows of each class in each split; of a table without classes its `rows`."""
        if not self.classes:
            return {split: {"rows": len(rows)} for split, rows in self.rows.items()}
        return counts_of(self.targets.astype(np.int64), self.rows, self.classes)

    def summary(self) -> str:
        """One line for people."""
        sizes = ", ".join(f"{split} {len(rows)}" for split, rows in self.rows.items())
        *features, target = self.columns
        return f"{self.source}: {sizes} rows, {target} from {', '.join(features)} (fingerprint {self.fingerprint})"

    def at(self, resolution: int) -> Splits:
        """The rows as they are, whatever `resolution`, and the training rows' mean and deviation as `fitted`."""
        pool = torch.from_numpy(self.features)
        train = self.features[self.rows["train"]].astype(np.float64)
        deviation = train.std(axis=0)
        deviation[(train == train[0]).all(axis=0)] = 1
        return Splits(
            train=self._split(pool, self.rows["train"]),
            valid=self._split(pool, self.rows["valid"]),
            test=None,
            classes=self.classes,
            fingerprint=self.fingerprint,
            source=self.source,
            location=self.location,
            fitted={"mean": torch.from_numpy(train.mean(axis=0)).float(), "std": torch.from_numpy(deviation).float()},
        )

    def whole(self) -> Split:
        """All rows, in the order of the file."""
        return self._split(torch.from_numpy(self.features), np.arange(len(self.features)))

    def _split(self, pool: torch.Tensor, rows: NDArray[np.int64]) -> Split:
        return Split(
            inputs=pool,
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(self.targets[rows]),
            groups=(),
            names=tuple(self.names[row] for row in rows),
            keys=tuple(self.keys[row] for row in rows),
            identities=self.identities[torch.from_numpy(rows)],
        )


def read_table(path: Path, columns: Sequence[str], *, numeric: bool, seed: int = 0) -> TableSet:
    """The table of a CSV file, or of a folder that holds one: `columns` are the features and, last, the target.

    Its first line names the columns; others than `columns` are ignored. A `numeric` target is a number, else one of as
    many classes as there are values. A fifth of the rows becomes `valid`, by `seed`.

    Raises:
        InputError: the file is missing or damaged, lacks a column, holds what is no number, or is too small to split.
    """
    file = _file(path)
    cells = _cells(file, columns)
    features = _numbers(file, [(line, row[:-1]) for line, row in cells], columns[:-1])
    classes: tuple[str, ...] = ()
    targets: NDArray[np.float32] | NDArray[np.int64]
    if numeric:
        targets = _numbers(file, [(line, row[-1:]) for line, row in cells], columns[-1:])[:, 0]
        rows = _divided(file, features, seed)
    else:
        labels = _labels(file, cells, columns[-1])
        classes = tuple(sorted(set(labels)))
        if len(classes) < 2:
            raise InputError(f"{file}: {columns[-1]} is {classes[0]!r} in all rows: name a column with several classes")
        targets = np.array([classes.index(label) for label in labels], np.int64)
        rows = _divided_by_class(file, features, labels, seed)
    return TableSet(
        features=features,
        targets=targets,
        columns=tuple(columns),
        classes=classes,
        names=tuple(f"{file.name} line {line}" for line, _ in cells),
        identities=_identities(cells, numeric=numeric),
        rows=rows,
        source=file.name,
        location=str(path.resolve()),
    )


def read_labelled_rows(path: Path, columns: Sequence[str], classes: Sequence[str], *, numeric: bool) -> Split:
    """All rows of a CSV file, not divided; labels are numbers or places in `classes`, of which some may be absent.

    Raises:
        InputError: the file is missing or damaged, lacks a column, holds what is no number, or another class.
    """
    file = _file(path)
    cells = _cells(file, columns)
    targets: NDArray[np.float32] | NDArray[np.int64]
    if numeric:
        targets = _numbers(file, [(line, row[-1:]) for line, row in cells], columns[-1:])[:, 0]
    else:
        labels = _labels(file, cells, columns[-1])
        if unknown := sorted({*labels} - {*classes}):
            raise InputError(f"{file}: {columns[-1]} is {unknown[0]!r} in a row, which is none of {', '.join(classes)}")
        targets = np.array([classes.index(label) for label in labels], np.int64)
    return TableSet(
        features=_numbers(file, [(line, row[:-1]) for line, row in cells], columns[:-1]),
        targets=targets,
        columns=tuple(columns),
        classes=tuple(classes),
        names=tuple(f"{file.name} line {line}" for line, _ in cells),
        identities=_identities(cells, numeric=numeric),
        rows={},
        source=file.name,
        location=str(path.resolve()),
    ).whole()


def read_features(path: Path, columns: Sequence[str]) -> torch.Tensor:
    """The numbers (n, len(columns)), float32, of a CSV file whose target need not be known.

    Raises:
        InputError: as from `read_table`.
    """
    file = _file(path)
    return torch.from_numpy(_numbers(file, _cells(file, columns), columns))


def generate_bonus(rows: int = 1_000, seed: int = 0) -> TableSet:
    """A table like the published bonus.csv: 12 performance + 6 years + 2 projects + 20, exactly.

    Whoever is a year longer there has, one to three aside, completed a project more: the columns go together as they
    do in that file. `location` opens the table of 1,000 rows.
    """
    chance = np.random.default_rng(seed)
    performance, years, extra = (chance.integers(1, high, rows, endpoint=True) for high in (10, 10, 3))
    features = np.stack([performance, years, years + extra], axis=1).astype(np.float32)
    targets = (features @ np.array([12, 6, 2], np.float32) + 20).astype(np.float32)
    source = f"{GENERATED} (seed {seed})"
    return TableSet(
        features=features,
        targets=targets,
        columns=_BONUS,
        classes=(),
        names=tuple(f"{source} row {row}" for row in range(rows)),
        identities=_digests([*row, target] for row, target in zip(features.tolist(), targets.tolist(), strict=True)),
        rows=_divided(source, features, seed),
        source=source,
        location=f"{GENERATED}:{seed}",
    )


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path} is not there: name a CSV file, or a folder that holds one")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv" and file.is_file())
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} CSV files: name one of them, or a folder with one")
    return found[0]


def _cells(file: Path, columns: Sequence[str]) -> list[tuple[int, list[str]]]:
    """The number of the line on which each row starts, and the row's cells of `columns`; empty lines are no rows."""
    found: list[tuple[int, list[str]]] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            header = [name.strip() for name in next(reader, [])]
            places = [_place(file, header, column) for column in columns]
            line = reader.line_num + 1
            for row in reader:
                if row and len(row) != len(header):
                    raise InputError(f"{file} line {line}: {len(row)} cells, but {len(header)} columns: mend the line")
                if row:
                    found.append((line, [row[place].strip() for place in places]))
                line = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{file} can't be read as CSV in UTF-8 ({problem}): save it as that") from None
    if not found:
        raise InputError(f"{file} holds no rows below its header: name a file that does")
    return found


def _place(file: Path, header: Sequence[str], column: str) -> int:
    if header.count(column) != 1:
        how = "several columns" if column in header else "no column"
        raise InputError(f"{file} line 1: {how} {column!r}, there are {', '.join(header)}: rename the columns")
    return header.index(column)


def _numbers(file: Path, cells: Sequence[tuple[int, Sequence[str]]], columns: Sequence[str]) -> NDArray[np.float32]:
    values = [[_number(file, line, *pair) for pair in zip(columns, row, strict=True)] for line, row in cells]
    # Zero has two signs, and one key.
    return np.array(values, np.float32) + np.float32(0)


def _number(file: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST:
        raise InputError(f"{file} line {line}: {column} is {cell!r}, no finite number: mend it, or remove the row")
    return value


def _labels(file: Path, cells: Sequence[tuple[int, Sequence[str]]], column: str) -> list[str]:
    for line, row in cells:
        if not row[-1]:
            raise InputError(f"{file} line {line}: {column} is empty: name a class, or remove the row")
    return [row[-1] for _, row in cells]


def _identities(cells: Sequence[tuple[int, Sequence[str]]], *, numeric: bool) -> torch.Tensor:
    """Equal for rows of equal numbers and targets, however they are written; the last cell is the target."""
    # Zero has two signs here too. In 64 bits: what training rounds away may tell two rows apart.
    return _digests(
        [*(float(cell) + 0.0 for cell in (row if numeric else row[:-1])), *([] if numeric else row[-1:])]
        for _, row in cells
    )


def _digests(rows: Iterable[Sequence[float | str]]) -> torch.Tensor:
    return identities_of(hashlib.blake2b(repr(row).encode(), digest_size=8).hexdigest() for row in rows)


def _keys(features: NDArray[np.float32]) -> tuple[str, ...]:
    return tuple(hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in features)


def _divided(where: Path | str, features: NDArray[np.float32], seed: int) -> dict[str, NDArray[np.int64]]:
    """A fifth of the rows, or a little less, as `valid`: as many sets of equal rows, in random order, as fit."""
    _, kinds, sizes = np.unique(features, axis=0, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or len(features) < _VALID:
        raise InputError(f"{where} has {len(features)} rows, {len(sizes)} of them different: too few to be split")
    chosen, room = [], len(features) // _VALID
    for kind in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[kind] <= room:
            chosen.append(kind)
            room -= sizes[kind]
    return _sides(np.isin(kinds.reshape(-1), chosen or [sizes.argmin()]))


def _divided_by_class(
    file: Path, features: NDArray[np.float32], labels: Sequence[str], seed: int
) -> dict[str, NDArray[np.int64]]:
    keys = _keys(features)
    try:
        return _sides(divide(labels, keys, seed))
    except InputError:
        # Its reason speaks of photos.
        counts = Counter(label for label, _ in set(zip(labels, keys, strict=True)))
        name = min(counts, key=lambda label: counts[label])
        raise InputError(
            f"{file} is too small to be split, of {name!r} it has {counts[name]} different rows: add some, or drop it"
        ) from None


def _sides(valid: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    return {"train": np.flatnonzero(~valid), "valid": np.flatnonzero(valid)}
