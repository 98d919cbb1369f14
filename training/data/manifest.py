"""`manifest.csv` of a folder of photos: their labels, splits and groups, as far as it says."""

from __future__ import annotations

import csv
import io
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from search_spaces import InputError

from ..machine.display import display_name
from .accents import composed, forms_of

MANIFEST = "manifest.csv"

# `source` says where a photo comes from, and nothing depends on it.
_COLUMN_OF = {
    **{name: "path" for name in ("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "photo")},
    **{name: "label" for name in ("label", "class", "classname", "category")},
    **{name: "split" for name in ("split", "subset")},
    **{name: "group" for name in ("group", "groupid")},
    "source": "source",
}
_DELIMITERS = ",;\t|"
_EXCEL_DELIMITER = re.compile(r"sep=(.)\r?\n")


@dataclass(frozen=True)
class Row:
    """A line of the manifest, empty strings where it does not say; `split` as it stands there, `label` composed."""

    label: str
    split: str
    group: str


@dataclass(frozen=True)
class Manifest:
    """`rows` by path, which is relative to the folder and has slashes; `unused` are columns that mean nothing here.

    `name` is what the file is called, `label_column` the one with the labels; both are empty where there is none.
    """

    name: str = ""
    rows: Mapping[str, Row] = field(default_factory=dict)
    label_column: str = ""
    unused: tuple[str, ...] = ()

    @property
    def labels_all(self) -> bool:
        """Whether every photo that it names has a label."""
        return bool(self.rows) and all(row.label for row in self.rows.values())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, or an empty one where it has none.

    The header may be in any case and order, with the names in `_COLUMN_OF`; columns are parted by commas, semicolons,
    tabs or bars.

    Raises:
        InputError: the file is no such table, or names a photo twice.
        OSError: it can't be read.
    """
    file = _file(folder)
    if file is None:
        return Manifest()
    text = _text(file)
    delimiter = None
    if (told := _EXCEL_DELIMITER.match(text)) is not None:
        delimiter, text = told[1], text[told.end() :]
    try:
        return _parsed(folder, file, text, delimiter or _delimiter(text))
    except csv.Error as problem:
        raise InputError(f"{str(file)!r} is no table in UTF-8: {problem}") from None


def _file(folder: Path) -> Path | None:
    names = [name for name in os.listdir(folder) if name.casefold() == MANIFEST]
    files = [folder / name for name in sorted(names) if not (folder / name).is_dir()]
    if len(files) > 1:
        raise InputError(f"{str(folder)!r} has {' and '.join(file.name for file in files)}: keep one")
    return files[0] if files else None


def _text(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(f"{str(file)!r} is no table in UTF-8: {problem}: save it as CSV in UTF-8") from None
    if "\0" in text:
        raise InputError(f"{str(file)!r} is no table in UTF-8, it has zero bytes: save it as CSV in UTF-8")
    return text


def _delimiter(text: str) -> str:
    """That which makes most known columns of the header; a comma where none makes more."""
    header = text.lstrip().split("\n", 1)[0]
    return max(_DELIMITERS, key=lambda delimiter: len([c for c in header.split(delimiter) if _plain(c) in _COLUMN_OF]))


def _parsed(folder: Path, file: Path, text: str, delimiter: str) -> Manifest:
    # Strict: a quotation mark without its pair would swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = next((row for row in reader if any(cell.strip() for cell in row)), [])
    places, unused = _places(file, header)
    rows: dict[str, Row] = {}
    for cells in reader:
        line = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            raise InputError(f"{str(file)!r} line {line}: {len(cells)} cells, but {len(header)} columns: fix the line")
        given = {column: cells[place].strip() if place < len(cells) else "" for column, place in places.items()}
        if not given["path"]:
            raise InputError(f"{str(file)!r} line {line} names no path: fix or remove the line")
        path = _path(folder, given["path"])
        if path == ".":
            raise InputError(f"{str(file)!r} line {line} names the folder itself: name a photo, or remove the line")
        if path in rows:
            raise InputError(f"{file.name} names {path!r} twice: keep one line")
        rows[path] = Row(composed(display_name(given.get("label", ""))), given.get("split", ""), given.get("group", ""))
    label_column = header[places["label"]].strip() if "label" in places else ""
    return Manifest(file.name, rows, label_column, tuple(unused))


def _places(file: Path, header: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Where each known column stands, and the names of the others. A column's own name goes before its synonyms."""
    meant: dict[str, list[int]] = {}
    unused = []
    for place, name in enumerate(header):
        if column := _COLUMN_OF.get(_plain(name)):
            meant.setdefault(column, []).append(place)
        elif name.strip():
            unused.append(name.strip())
    places = {}
    for column, found in meant.items():
        own = [place for place in found if _plain(header[place]) == column] or found
        if len(own) > 1:
            names = " and ".join(repr(header[place].strip()) for place in own)
            raise InputError(f"{str(file)!r} has columns {names} for {column}: keep one")
        places[column] = own[0]
        unused += [header[place].strip() for place in found if place != own[0]]
    if "path" not in places:
        named = f" but {', '.join(map(repr, unused))}" if unused else ""
        raise InputError(
            f"{str(file)!r} has no column 'path'{named}: its first line must be path,label,split,group, or some of them"
        )
    return places, unused


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-\"']+", "", name).casefold()


def _path(folder: Path, written: str) -> str:
    """The path as it is below `folder`, where `written` may be of Windows, absolute or have dots in it."""
    path = posixpath.normpath(written)
    if "\\" in path and not (folder / path).exists():
        path = posixpath.normpath(written.replace("\\", "/"))
    if posixpath.isabs(path):
        for root in (folder.absolute(), folder.resolve()):
            if Path(path).is_relative_to(root):
                path = Path(path).relative_to(root).as_posix()
                break
    if path.isascii() or (folder / path).exists():
        return path
    # A Mac writes an accent as a character of its own into names of files, and few editors do. A path may have both.
    found = ""
    for part in PurePosixPath(path).parts:
        below = [posixpath.join(found, form) for form in forms_of(part)]
        found = next((form for form in below if (folder / form).exists()), below[0])
    return found
