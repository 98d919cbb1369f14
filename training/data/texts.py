"""Labelled short texts, one `label<TAB>text` a line, as the UCI SMS Spam Collection comes (Almeida et al. 2011)."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
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
from .dividing import divide
from .splits import Split, Splits, counts_of, identities_of, short_digest

BYTES = 320
"""Of a text, so many bytes are looked at: two SMS of 160 characters. 27 of the collection's 4,738 texts are longer."""

_SUFFIXES = (".tsv", ".txt")
_MARK = b"\xef\xbb\xbf"
# The name in UCI's archive, without a suffix.
_UCI = "SMSSpamCollection"


@dataclass(frozen=True, eq=False)
class TextSet:
    """Texts with a label each; those in `held_out`, a fifth, are `valid`. Equal texts are on one side.

    Equal are texts that differ in case and white space only. Their labels may differ: that is what the data says.
    """

    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    classes: tuple[str, ...]
    source: str
    location: str

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with contents, labels and split."""
        return short_digest([list(self.texts), self.labels.tolist(), self.held_out.tolist(), list(self.classes), BYTES])

    @cached_property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """The texts of each split."""
        return {"train": np.flatnonzero(~self.held_out), "valid": np.flatnonzero(self.held_out)}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Texts of each class in each split."""
        return counts_of(self.labels, self.rows, self.classes)

    def reading_seconds(self, _resolution: int) -> float:
        """They are in memory."""
        return 0.0

    def summary(self) -> str:
        """One line for people."""
        sizes = ", ".join(f"{split} {len(rows)}" for split, rows in self.rows.items())
        return f"{self.source}: {sizes} texts of {len(self.classes)} classes (fingerprint {self.fingerprint})"

    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits:
        """The texts as bytes, uint8 (n, `BYTES`); they have no resolution."""
        pool, identities = encode_texts(self.texts), self._identities()
        splits = {name: self._split(pool, identities, rows) for name, rows in self.rows.items()}
        return Splits(
            train=splits["train"],
            valid=splits["valid"],
            test=None,
            classes=self.classes,
            fingerprint=self.fingerprint,
            source=self.source,
            location=self.location,
        )

    def whole(self) -> Split:
        """All texts, in the order of the file."""
        return self._split(encode_texts(self.texts), self._identities(), np.arange(len(self.texts)))

    def _identities(self) -> torch.Tensor:
        # Without the label: words that were learnt under another one are not new.
        plain = (_plain(text).encode() for text in self.texts)
        return identities_of(hashlib.blake2b(text, digest_size=8).hexdigest() for text in plain)

    def _split(self, pool: torch.Tensor, identities: torch.Tensor, rows: NDArray[np.int64]) -> Split:
        return Split(
            inputs=pool,
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(self.labels[rows]),
            groups=(),
            names=tuple(self.texts[row] for row in rows),
            keys=tuple(hashlib.blake2b(pool[row].numpy().data, digest_size=16).hexdigest() for row in rows),
            identities=identities[torch.from_numpy(rows)],
        )


def encode_texts(texts: Sequence[str]) -> torch.Tensor:
    """UTF-8 bytes (n, `BYTES`), uint8: the beginnings of longer texts, zeros after shorter ones.

    A zero means that the text has ended, so zeros in a text are left out; half a surrogate pair becomes `?`.
    """
    encoded = (text.encode(errors="replace").replace(b"\0", b"")[:BYTES].ljust(BYTES, b"\0") for text in texts)
    return torch.from_numpy(np.frombuffer(bytearray().join(encoded), np.uint8).reshape(len(texts), BYTES))


def read_texts(path: Path, *, seed: int = 0) -> TextSet:
    """The texts of a .tsv or .txt file, or of the one such file in a folder, split by `seed`.

    Raises:
        InputError: there is no such file or there are several, a line is no `label<TAB>text` in UTF-8, there are fewer
            than two classes, or some class has too few texts to be split.
    """
    file = _file(path)
    labels, texts = _parsed(file)
    counts = Counter(labels)
    if len(counts) < 2:
        found = f"all {len(labels)} texts are {labels[0]!r}" if labels else "there are no texts"
        raise InputError(f"{str(file)!r}: {found}: give it lines of label<TAB>text with at least two labels")
    try:
        held_out = divide(labels, [_plain(text) for text in texts], seed)
    except InputError:
        sizes = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        raise InputError(
            f"{str(file)!r} has too few different texts of some class to be split ({sizes}): add some"
        ) from None
    classes = tuple(sorted(counts))
    numbers = {name: number for number, name in enumerate(classes)}
    return TextSet(
        texts=tuple(texts),
        labels=np.array([numbers[label] for label in labels], dtype=np.int64),
        held_out=held_out,
        classes=classes,
        source=display_name(path.name),
        location=str(path.resolve()),
    )


def read_labelled_texts(path: Path, classes: Sequence[str]) -> Split:
    """All texts of a file, not divided, with their places in `classes` as labels; not all of those need be there.

    Raises:
        InputError: as from `read_texts`, or a label is none of `classes`.
    """
    file = _file(path)
    labels, texts = _parsed(file)
    labels = written_as(classes, labels)
    if not texts:
        raise InputError(f"{str(file)!r}: there are no texts: give it lines of label<TAB>text")
    if unknown := sorted({*labels} - {*classes}):
        raise InputError(f"{str(file)!r} has label {unknown[0]!r}, which is none of {', '.join(classes)}")
    return TextSet(
        texts=tuple(texts),
        labels=np.array([classes.index(label) for label in labels], dtype=np.int64),
        held_out=np.zeros(len(texts), np.bool_),
        classes=tuple(classes),
        source=display_name(path.name),
        location=str(path.resolve()),
    ).whole()


def _plain(text: str) -> str:
    """What equal texts have in common: of what a model sees of them, everything but case and spaces."""
    seen = text.encode()[:BYTES].decode(errors="ignore")
    return " ".join(seen.casefold().split())


def _has_name(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES or file.name == _UCI


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if os.path.isfile(entry) and _has_name(entry))
    except OSError as problem:
        raise InputError(f"{folder} can't be read: {problem.strerror}") from None


def _file(path: Path) -> Path:
    # Not Path.is_dir(), which raises where a name is too long or a folder may not be looked into.
    if not os.path.isdir(path):
        if not os.path.isfile(path):
            raise InputError(f"there is no {str(path)!r}: name a .tsv file of texts, or the folder of one")
        return path
    files = _files(path)
    if len(files) != 1:
        held = ", ".join(file.name for file in files) or "no .tsv or .txt file"
        raise InputError(f"{str(path)!r} holds {held}: name one file of texts")
    return files[0]


def lines_of(file: Path) -> list[str]:
    """The lines of a file in UTF-8, with or without a byte order mark; all but an end of file end in \\n or \\r\\n.

    Nothing else ends a line: not a lone \\r, a form feed or Unicode's separators, which occur within texts.

    Raises:
        InputError: the file can't be read, or a line is no UTF-8.
    """
    try:
        raw = file.read_bytes()
    except OSError as problem:
        why = "it is a folder, name a file of texts" if os.path.isdir(file) else problem.strerror
        raise InputError(f"{file} can't be read: {why}") from None
    # Split as bytes, so that a line that is no UTF-8 has a number.
    lines = []
    for number, line in enumerate(raw.removeprefix(_MARK).removesuffix(b"\n").split(b"\n"), 1):
        try:
            lines.append(line.decode().removesuffix("\r"))
        except UnicodeDecodeError:
            raise InputError(f"{file} line {number} is no UTF-8 text: save the file as UTF-8") from None
    return lines


def _parsed(file: Path) -> tuple[list[str], list[str]]:
    """Labels and texts of the lines; empty lines are passed over, quotes are part of the text, labels are composed."""
    labels, texts = [], []
    for number, line in enumerate(lines_of(file), 1):
        place = f"{str(file)!r}, line {number}"
        decoded = line.replace("\0", "")
        if not decoded:
            continue
        label, tab, text = decoded.partition("\t")
        if not tab:
            raise InputError(f"{place} has no tab: write label<TAB>text")
        if not label.strip():
            raise InputError(f"{place} has no label before its tab: write label<TAB>text")
        labels.append(composed(label.strip()))
        texts.append(text)
    return labels, texts
