"""Tables: rows of numbers in a CSV file, and what is to be told from them, a number or a class."""

from __future__ import annotations

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

from ..machine.display import display_name
from ..machine.threads import Progress
from .accents import composed, written_as
from .csv_rows import Cells, csv_file, lost_digits, numbers_of, read_cells
from .dividing import divide
from .precision import Floats, compact, constant_columns, offset_of, short_floats_suffice, standardisation
from .splits import Split, Splits, counts_of, identities_of, short_digest

GENERATED = "generated"
_BONUS = ("performance", "years_of_experience", "projects_completed", "bonus")
_VALID = 5  # one row in so many


@dataclass(frozen=True, eq=False)
class TableSet:
    """Features (n, f) with a target (n,) each: floats, or int64 where the target is one of `classes`.

    Floats are of 32 bits where those hold what the file says. `rows` are those of each split; rows of equal features
    are in one of them. `identities` are as in `Split`. `note` says what has to be known of the columns.
    """

    features: Floats
    targets: Floats | NDArray[np.int64]
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    identities: torch.Tensor
    rows: Mapping[str, NDArray[np.int64]]
    source: str
    location: str
    note: str = ""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """For each row, what stands for its features."""
        return _keys(self.features)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with contents, columns and split."""
        digest = hashlib.sha256(_distinguished(self.features).tobytes())
        for values in (self.targets, *self.rows.values()):
            digest.update(values.tobytes())
        return short_digest([digest.hexdigest(), list(self.columns), list(self.classes)])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows of each class in each split; of a table without classes its `rows`."""
        if not self.classes:
            return {split: {"rows": len(rows)} for split, rows in self.rows.items()}
        return counts_of(self.targets.astype(np.int64), self.rows, self.classes)

    def reading_seconds(self, _resolution: int) -> float:
        """They are in memory."""
        return 0.0

    def summary(self) -> str:
        """One line for people."""
        sizes = ", ".join(f"{split} {len(rows)}" for split, rows in self.rows.items())
        *features, target = self.columns
        return f"{self.source}: {sizes} rows, {target} from {', '.join(features)} (fingerprint {self.fingerprint})" + (
            f"; {self.note}" if self.note else ""
        )

    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits:
        """The rows as they are, whatever `resolution`, and the training rows' mean and deviation as `fitted`.

        They have 64 bits where the columns need them, and the first stage then computes with so many.
        """
        pool = torch.from_numpy(self.features)
        mean, deviation = standardisation(_distinguished(self.features)[self.rows["train"]])
        dtype = torch.float32 if short_floats_suffice(self.features) else torch.float64
        return Splits(
            train=self._split(pool, self.rows["train"]),
            valid=self._split(pool, self.rows["valid"]),
            test=None,
            classes=self.classes,
            fingerprint=self.fingerprint,
            source=self.source,
            location=self.location,
            fitted={"mean": torch.from_numpy(mean).to(dtype), "std": torch.from_numpy(deviation).to(dtype)},
            offset=0.0 if self.classes else offset_of(self.targets.astype(np.float64), self.rows["train"]),
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
    file = csv_file(path)
    cells = read_cells(file, columns)
    *names, target = columns
    features = compact(numbers_of(file, cells.columns(0, len(names)), names))
    classes: tuple[str, ...] = ()
    targets: Floats | NDArray[np.int64]
    if numeric:
        targets = _targets(numbers_of(file, cells.columns(len(names), len(columns)), [target])[:, 0])
        rows = _divided(file, features, seed)
    else:
        labels = _labels(file, cells, target)
        classes = tuple(sorted(set(labels)))
        if len(classes) < 2:
            raise InputError(f"{file}: {target} is {classes[0]!r} in all rows: name a column with several classes")
        targets = np.array([classes.index(label) for label in labels], np.int64)
        rows = _divided_by_class(file, features, labels, seed)
    return TableSet(
        features=features,
        targets=targets,
        columns=tuple(columns),
        classes=classes,
        names=tuple(f"{display_name(file.name)} line {line}" for line, _ in cells.rows),
        identities=_identities(cells, numeric=numeric),
        rows=rows,
        source=display_name(file.name),
        location=str(path.resolve()),
        note=_note(cells, columns, features, numeric),
    )


def read_labelled_rows(path: Path, columns: Sequence[str], classes: Sequence[str], *, numeric: bool) -> Split:
    """All rows of a CSV file, not divided; labels are numbers or places in `classes`, of which some may be absent.

    Raises:
        InputError: the file is missing or damaged, lacks a column, holds what is no number, or another class.
    """
    file = csv_file(path)
    cells = read_cells(file, columns)
    *names, target = columns
    targets: Floats | NDArray[np.int64]
    if numeric:
        targets = _targets(numbers_of(file, cells.columns(len(names), len(columns)), [target])[:, 0])
    else:
        labels = written_as(classes, _labels(file, cells, target))
        if unknown := sorted({*labels} - {*classes}):
            raise InputError(f"{file}: {target} is {unknown[0]!r} in a row, which is none of {', '.join(classes)}")
        targets = np.array([classes.index(label) for label in labels], np.int64)
    return TableSet(
        features=compact(numbers_of(file, cells.columns(0, len(names)), names)),
        targets=targets,
        columns=tuple(columns),
        classes=tuple(classes),
        names=tuple(f"{display_name(file.name)} line {line}" for line, _ in cells.rows),
        identities=_identities(cells, numeric=numeric),
        rows={},
        source=display_name(file.name),
        location=str(path.resolve()),
    ).whole()


def read_features(path: Path, columns: Sequence[str]) -> torch.Tensor:
    """The numbers (n, len(columns)) of a CSV file whose target need not be known, float32 where that loses nothing.

    Raises:
        InputError: as from `read_table`.
    """
    file = csv_file(path)
    return torch.from_numpy(compact(numbers_of(file, read_cells(file, columns).rows, columns)))


def generate_bonus(rows: int = 1_000, seed: int = 0) -> TableSet:
    """A table like the published bonus.csv: 12 performance + 6 years + 2 projects + 20, exactly.

    Whoever is a year longer there has, one to three aside, completed a project more: the columns go together as they
    do in that file. `location` opens the table of 1,000 rows.
    """
    generator = np.random.default_rng(seed)
    performance, years, extra = (generator.integers(1, high, rows, endpoint=True) for high in (10, 10, 3))
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


def _note(cells: Cells, columns: Sequence[str], features: Floats, numeric: bool) -> str:
    """What has to be known of the columns, in one line."""
    numbers = columns if numeric else columns[:-1]
    notes = lost_digits(cells.columns(0, len(numbers)), numbers)
    constant = [name for name, same in zip(columns[:-1], constant_columns(features), strict=True) if same]
    if constant:
        notes.append(f"the same in all rows: {', '.join(constant)}")
    if cells.unused:
        notes.append(f"columns not used: {', '.join(cells.unused)}")
    return "; ".join(notes)


def _targets(values: NDArray[np.float64]) -> Floats:
    """Targets as they are learned: with 64 bits where much has to be taken off them first."""
    return values if offset_of(values, np.arange(len(values))) else values.astype(np.float32)


def _distinguished(features: Floats) -> Floats:
    """The features as a model tells rows apart by them."""
    return features.astype(np.float32) if short_floats_suffice(features) else features.astype(np.float64)


def _keys(features: Floats) -> tuple[str, ...]:
    """What stands for the contents of each row, in any table: its numbers as 32-bit floats where those hold them."""
    short, exact = features.astype(np.float32), features.astype(np.float64)
    whole = (short.astype(np.float64) == exact).all(axis=1)
    rows = (few if same else many for few, many, same in zip(short, exact, whole, strict=True))
    return tuple(hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in rows)


def _labels(file: Path, cells: Cells, column: str) -> list[str]:
    for line, row in cells.rows:
        if not row[-1]:
            raise InputError(f"{file} line {line}: {column} is empty: name a class, or remove the row")
    return [composed(row[-1]) for _, row in cells.rows]


def _identities(cells: Cells, *, numeric: bool) -> torch.Tensor:
    """Equal for rows of equal numbers and targets, however they are written; the last cell is the target."""
    # Zero has two signs here too. In 64 bits: what training rounds away may tell two rows apart.
    return _digests(
        [*(float(cell) + 0.0 for cell in (row if numeric else row[:-1])), *([] if numeric else [composed(row[-1])])]
        for _, row in cells.rows
    )


def _digests(rows: Iterable[Sequence[float | str]]) -> torch.Tensor:
    return identities_of(hashlib.blake2b(repr(row).encode(), digest_size=8).hexdigest() for row in rows)


def _divided(where: Path | str, features: Floats, seed: int) -> dict[str, NDArray[np.int64]]:
    """A fifth of the rows, or a little less, as `valid`: as many sets of equal rows, in random order, as fit."""
    _, kinds, sizes = np.unique(_distinguished(features), axis=0, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or len(features) < _VALID:
        raise InputError(f"{where} has {len(features)} rows, {len(sizes)} of them different: too few to be split")
    chosen, room = [], len(features) // _VALID
    for kind in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[kind] <= room:
            chosen.append(kind)
            room -= sizes[kind]
    return _sides(np.isin(kinds.reshape(-1), chosen or [sizes.argmin()]))


def _divided_by_class(file: Path, features: Floats, labels: Sequence[str], seed: int) -> dict[str, NDArray[np.int64]]:
    keys = _keys(_distinguished(features))
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
