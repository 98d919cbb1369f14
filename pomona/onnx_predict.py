"""Answers of a model that `pomona export` wrote, with onnxruntime and numpy alone, and Pillow where it sees photos.

A model of photos answers for image files, one of a table for the rows of CSV files, one of texts for the lines of text
files. A deployment needs this one file and the model: copied elsewhere, it works without pomona.

    from onnx_predict import predict

    predict("fruit.onnx", ["apple.jpg"])[0]["label"]
    predict("bonus.onnx", ["staff.csv"])[0]["value"]

A process that answers more than once keeps the model: `model = load("fruit.onnx")`, then `model.predict([...])`.
From a shell: `python -m pomona.onnx_predict fruit.onnx apple.jpg`, with `--profile` for the time and memory it takes.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import itertools
import json
import math
import os
import re
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Batches = Iterator[tuple[Sequence[str], NDArray[Any]]]

# The libraries are imported by the functions, so that their time can be taken.

_BATCH = 32
_WHITE = (255, 255, 255)
_FULL = 2**16 - 1
_LARGEST = 3.4028234663852886e38  # of 32-bit floats
_EXCEL_SEPARATOR = re.compile(r"sep=([,;\t|])[\r\n]*")
_COMMAS = re.compile(r"[+-]?[\d.,' ]*,[\d.,' ]*")


class PredictionError(ValueError):
    """The model or a file is not what it should be; one line says what to do."""


class Model:
    """A model in memory, with what `pomona export` wrote about it.

    `modality` is "image", "tabular", "text" or the name of another one. `classes` are empty where it answers with a
    number. `resolution` is the side of the squares that a model of photos takes; one that takes each photo in several
    `resolutions` gets these flat and joined. `columns` are those of a table, the target's last.
    """

    def __init__(self, session: Any, told: Mapping[str, str]) -> None:
        self.session = session
        self.modality = told.get("pomona.modality", "image")
        self.classes: tuple[str, ...] = tuple(json.loads(told["pomona.classes"]))
        self.columns: tuple[str, ...] = tuple(json.loads(told.get("pomona.columns", "[]")))
        self.resolution = int(told.get("pomona.resolution", 0))
        self.resolutions: tuple[int, ...] = tuple(json.loads(told.get("pomona.resolutions", "[]")))

    def predict(self, files: Sequence[str | Path]) -> list[dict[str, Any]]:
        """For each photo, row or text its `path`, which names the row or line too, and the answer.

        Of classes that is `label`, the label's `probability`, and the `probabilities` of all; else it is a `value`.

        Raises:
            PredictionError: a file is missing, or no picture, table or text.
        """
        batches = self._reader().read(self, files)
        return [one for names, inputs in batches for one in self.predictions(names, inputs)]

    def unreadable(self, files: Sequence[str | Path]) -> dict[Any, str]:
        """The files for which `predict` has no answers, as they are given, each with the line that it raises."""
        reader, found = self._reader(), {}
        for file in files:
            try:
                for _ in reader.read(self, [file]):
                    pass
            except PredictionError as problem:
                found[file] = str(problem)
        return found

    def _reader(self) -> Reader:
        if self.modality not in READERS:
            raise PredictionError(
                f"the model takes examples of modality {self.modality!r}, and files are read of {', '.join(READERS)}: "
                "add a reader for it to READERS, or predict with `pomona predict`"
            )
        return READERS[self.modality]

    def predictions(self, names: Sequence[str], inputs: NDArray[Any]) -> Iterator[dict[str, Any]]:
        """As `predict`, for examples that were read already: (n, ...), with the name of each."""
        for start in range(0, len(names), _BATCH):
            batch, named = inputs[start : start + _BATCH], names[start : start + _BATCH]
            (outputs,) = self.session.run(None, {self.input.name: batch})
            yield from self._named(named, outputs) if self.classes else _numbered(named, outputs)

    @property
    def input(self) -> Any:
        """Name, shape and type of the only input, as onnxruntime has them."""
        (asked,) = self.session.get_inputs()
        return asked

    def _named(self, names: Sequence[str], logits: NDArray[np.float32]) -> Iterator[dict[str, Any]]:
        for name, row in zip(names, _softmax(logits), strict=True):
            best = int(row.argmax())
            yield {
                "path": name,
                "label": self.classes[best],
                "probability": float(row[best]),
                "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
            }


def _numbered(names: Sequence[str], values: NDArray[np.float32]) -> Iterator[dict[str, Any]]:
    for name, value in zip(names, values[:, 0].tolist(), strict=True):
        yield {"path": name, "value": value}


def predict(model: str | Path, files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """`load(model).predict(files)`."""
    return load(model).predict(files)


def load(model: str | Path) -> Model:
    """Opens an ONNX file.

    Raises:
        PredictionError: there is none, or `pomona export` did not write it, or onnxruntime is not installed.
    """
    if not os.path.isfile(model):  # Path.is_file raises where a folder may not be read, or a name is too long
        raise PredictionError(f"no file {model}: expected a model that `pomona export` wrote")
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as missing:
        if missing.name != "onnxruntime":
            raise
        raise PredictionError("an ONNX model needs onnxruntime: pip install onnxruntime") from None

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        told = session.get_modelmeta().custom_metadata_map
    # Its errors have no common class but this one.
    except Exception as problem:
        reason = _one_line(problem)
        raise PredictionError(f"{model} can't be read as an ONNX model ({reason}): export it again") from None
    if "pomona.classes" not in told:
        raise PredictionError(f"{model} does not name its classes: expected a model that `pomona export` wrote")
    return Model(session, told)


def square(data: bytes, resolution: int) -> NDArray[np.uint8]:
    """The whole picture in `data` as uint8 (resolution, resolution, 3), pixel for pixel as the model was trained on it.

    Upright, transparent parts white, aspect not kept. What `pomona` itself does when it trains is written out here once
    more, as this file must work without it; a test compares the two.

    Raises:
        Exception: what Pillow's many parsers raise on what is no whole picture.
    """
    import numpy as np
    from PIL import Image

    side = (resolution, resolution)
    return np.asarray(_read_rgb(data, resolution).resize(side, Image.Resampling.BICUBIC, reducing_gap=3.0))


def _read_rgb(data: bytes, resolution: int) -> Image.Image:
    from PIL import Image, ImageOps

    image: Image.Image = Image.open(BytesIO(data))
    image.draft(None, (2 * resolution, 2 * resolution))
    tile = getattr(image, "tile", None)  # gone once the pixels are loaded
    layout = tile[0][3] if tile else ""
    layout = layout[0] if isinstance(layout, tuple) and layout else layout
    white = _white(image, data)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        image = _eight_bits(image, white)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    elif (white >= _FULL or re.fullmatch(r".*;16[BLN]", str(layout))) and _is_dark(image):
        raise ValueError(
            "its 16-bit colours use 14 bits or fewer, and would come out nearly black: stretch them to 16 bits, or "
            "save it with 8"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        return flat
    return image.convert("RGB")


def _white(image: Image.Image, data: bytes) -> int:
    """The value that PPM and JPEG 2000 call white, to which Pillow stretches where it is below 2^16 - 1; else 0."""
    tile = getattr(image, "tile", None)
    if image.format == "PPM" and tile and isinstance(tile[0][3], tuple):
        return int(tile[0][3][1])
    if image.format == "JPEG2000":
        return int(2 ** (1 + (data[data.find(b"\xff\x4f\xff\x51") + 42] & 0x7F)) - 1)
    return 0


def _is_dark(image: Image.Image) -> bool:
    """Whether colours of 16 bits, of which Pillow rounds those of PPM to eight and cuts others, use 14 or fewer."""
    import numpy as np

    brightest = max(int(np.asarray(image.getchannel(name)).max()) for name in image.getbands() if name not in "Aa")
    return brightest <= (64 if image.format == "PPM" else 63)


def _eight_bits(image: Image.Image, white: int) -> Image.Image:
    """Grey values of 16 or 32 bits, by the smallest usual range that holds them, unless the file says which it is."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    transparent = np.isin(values, image.info.get("transparency", []))
    seen = np.zeros(1, values.dtype) if transparent.all() else values[~transparent]
    low, high = int(seen.min()), int(seen.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"grey values from {low} to {high} have no agreed range: save it with 8 or 16 bits")
    if 0 < white < _FULL:  # then Pillow has stretched it
        high = _FULL
    for told in (2 ** (_tag(image, 258) or 16) - 1, _tag(image, 281)):  # bits, and the largest value
        if told is not None and high <= told < _FULL:
            high = told
    bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
    grey = (values >> (bits - 8)).astype(np.uint8)
    grey = 255 - grey if _tag(image, 262) == 0 else grey  # where 0 is white
    return Image.fromarray(np.where(transparent, np.uint8(255), grey))


def _tag(image: Image.Image, number: int) -> int | None:
    """A whole number that a TIFF file says about itself."""
    value = getattr(image, "tag_v2", {}).get(number)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def _photos(model: Model, files: Sequence[str | Path]) -> Batches:
    """Image files, decoded a batch at a time."""
    import numpy as np

    problems: list[tuple[str, str]] = []
    for start in range(0, len(files), _BATCH):
        paths = [str(path) for path in files[start : start + _BATCH]]
        pixels = []
        for path in paths:
            try:
                pixels.append(_picture(model, Path(path)))
            except _NoPictureError as problem:
                problems.append((path, str(problem)))
        if not problems:
            yield paths, np.stack(pixels)
    if len(files) == 1 and problems:
        raise PredictionError("cannot read {!r}: {}".format(*problems[0]))
    if problems:
        some = ", ".join(f"{path!r} ({why})" for path, why in problems[:3]) + (", ..." if problems[3:] else "")
        raise PredictionError(
            f"cannot read {len(problems)} of {len(files)} files: {some}: repair them, or leave them out with "
            "--skip-unreadable"
        )


class _NoPictureError(Exception):
    """Why a file is no picture."""


def _picture(model: Model, path: Path) -> NDArray[np.uint8]:
    import numpy as np

    if not model.resolutions:
        return _read(path, model.resolution)
    return np.concatenate([_read(path, resolution).ravel() for resolution in model.resolutions])


def _read(path: Path, resolution: int) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # Odd metadata are not the caller's concern, nor is a picture that is merely large.
            warnings.filterwarnings("ignore", module="PIL")
            return square(path.read_bytes(), resolution)
    except OSError as problem:
        if os.path.isdir(path):
            raise _NoPictureError(f"it is a folder, name its files: {path}/*") from None
        raise _NoPictureError(problem.strerror or "it is no whole picture") from None
    except Exception as problem:
        raise _NoPictureError(_one_line(problem)) from None


def _rows(model: Model, files: Sequence[str | Path]) -> Batches:
    """The rows of CSV files."""
    import numpy as np

    names, rows = [], []
    for file in files:
        numbers = _read_table(Path(file), model.columns[:-1])
        names += [f"{file} row {row}" for row in range(1, 1 + len(numbers))]
        rows += numbers
    # A model takes 64 bits where a column has more digits than 32 bits hold.
    yield names, np.array(rows, np.float64 if model.input.type == "tensor(double)" else np.float32)


def _read_table(file: Path, columns: Sequence[str]) -> list[list[float]]:
    """The numbers of `columns` in each row of a CSV file. Empty lines are no rows.

    What `pomona` does when it reads a table, once more.
    """
    if not os.path.isfile(file):
        raise PredictionError(f"{file} is {'a folder' if os.path.isdir(file) else 'not there'}: name a CSV file")
    rows: list[tuple[int, list[str]]] = []
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
                    raise PredictionError(
                        f"{file} line {line}: {len(row)} cells, but {len(header)} columns: fix the line"
                    )
                if row:
                    rows.append((line, row))
                line = before + reader.line_num + 1
    except csv.Error as problem:
        raise PredictionError(f"{file} line {line} can't be read as CSV ({problem}): fix its quotes") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise PredictionError(f"{file} can't be read as CSV in UTF-8 ({problem}): save it as that") from None
    if not rows:
        raise PredictionError(f"{file} holds no rows below its header: name a file that does")
    wanted = list(zip(columns, places, strict=True))
    return [[_number(file, line, column, row[place].strip()) for column, place in wanted] for line, row in rows]


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
        raise PredictionError(
            f"{file} line {line}: no column {column!r}, the cells are separated by {other!r}: save it with commas "
            "between cells and points in numbers"
        )
    how = "several columns" if places else "no column"
    raise PredictionError(f"{file} line {line}: {how} {column!r}, there are {', '.join(header)}: rename the columns")


def _other_separator(header: Sequence[str], column: str) -> str:
    """What else than commas seems to separate the cells of a header without `column`; empty where nothing does."""
    for mark in ";\t|":
        names = [name.strip(' "') for name in ",".join(header).split(mark)]
        if len(names) >= max(len(header), 2) and (len(header) == 1 or _plain(column) in map(_plain, names)):
            return mark
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", name.casefold()))


def _number(file: Path, line: int, column: str, cell: str) -> float:
    try:
        # Python takes 1_000 for 1000; no program writes that.
        value = float("nan") if "_" in cell else float(cell)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST:
        way = "write it without commas, as 1234.5" if _COMMAS.fullmatch(cell) else "fix it, or remove the row"
        raise PredictionError(f"{file} line {line}: {column} is {cell!r}, no finite number: {way}")
    return value


def _texts(model: Model, files: Sequence[str | Path]) -> Batches:
    """The lines of text files as the model takes them: UTF-8 without zero bytes, cut or filled to its length."""
    import numpy as np

    length = model.input.shape[-1]
    names, encoded = [], bytearray()
    for file in files:
        for number, line in enumerate(_read_lines(Path(file)), 1):
            names.append(f"{file} line {number}")
            encoded += line.encode().replace(b"\0", b"")[:length].ljust(length, b"\0")
    yield names, np.frombuffer(encoded, np.uint8).reshape(len(names), length)


def _read_lines(file: Path) -> list[str]:
    """The lines of a text file. Only \\n or \\r\\n ends one: other ends of lines occur within texts."""
    try:
        raw = file.read_bytes()
    except OSError as problem:
        why = "it is a folder, name a file of texts" if os.path.isdir(file) else problem.strerror
        raise PredictionError(f"{file} can't be read: {why}") from None
    lines = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n"), 1):
        try:
            lines.append(line.decode().removesuffix("\r"))
        except UnicodeDecodeError:
            raise PredictionError(f"{file} line {number} is no UTF-8 text: save the file as UTF-8") from None
    if lines == [""]:
        raise PredictionError(f"{file} is empty: one text a line")
    return lines


@dataclass(frozen=True)
class Reader:
    """How files become names and inputs (n, ...), some at a time, and the libraries that this takes beside numpy."""

    read: Callable[[Model, Sequence[str | Path]], Batches]
    libraries: tuple[str, ...] = ()


READERS: dict[str, Reader] = {
    "image": Reader(_photos, ("PIL.Image", "PIL.ImageOps")),
    "tabular": Reader(_rows),
    "text": Reader(_texts),
}
"""By the modality that a model says it takes; a deployment adds its own."""


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200] or type(problem).__name__


def profile(model: str | Path, files: Sequence[str | Path]) -> dict[str, float]:
    """Seconds for the imports, for opening the model and for the first answers, and the peak memory of this process.

    What it says is true of a fresh process; afterwards the imports are free.
    """
    imported = _seconds_to_import("numpy", "onnxruntime")
    start = time.perf_counter()
    loaded = load(model)
    opened = time.perf_counter()
    imported += _seconds_to_import(*(READERS[loaded.modality].libraries if loaded.modality in READERS else ()))
    asked = time.perf_counter()
    loaded.predict(files)
    return {
        "import_seconds": imported,
        "load_seconds": opened - start,
        "answer_seconds": time.perf_counter() - asked,
        "peak_megabytes": _peak_megabytes(),
    }


def _seconds_to_import(*libraries: str) -> float:
    start = time.perf_counter()
    for library in libraries:
        importlib.import_module(library)
    return time.perf_counter() - start


def _peak_megabytes() -> float:
    try:
        # On Linux, the other figure starts with what the parent process had at its peak.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _for_json(value: Any) -> Any:
    """As JSON has it: null for NaN and infinities, and bytes of a file's name that are not UTF-8 as \\xe9."""
    if isinstance(value, str):
        return value if value.isprintable() else os.fsencode(value).decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {name: _for_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_for_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _readable(model: str, files: Sequence[str]) -> list[str]:
    """The files that can be read; what is left out is said on stderr."""
    problems = load(model).unreadable(files)
    if len(problems) == len(set(files)):
        raise PredictionError(f"none of the {len(files)} files can be read: {next(iter(problems.values()))}")
    for problem in problems.values():
        sys.stderr.write(f"left out: {problem}\n")
    return [file for file in files if file not in problems]


def main(argv: Sequence[str] | None = None) -> int:
    description = "Answers for photos, the rows of CSV files or the lines of text files. Prints JSON."
    parser = argparse.ArgumentParser(prog="onnx_predict", description=description)
    parser.add_argument("--profile", action="store_true", help="print what it took in place of the answers")
    skip_help = "leave out files that can't be read, and say which"
    parser.add_argument("--skip-unreadable", action="store_true", help=skip_help)
    parser.add_argument("model", metavar="MODEL", help="a file that `pomona export` wrote")
    parser.add_argument("files", metavar="FILE", nargs="+", help="photos; CSV files; text files, one text a line")
    wanted = parser.parse_args(argv)
    if wanted.profile and wanted.skip_unreadable:
        parser.error("--profile measures a fresh process, in which nothing was read before: name readable files")
    try:
        files = _readable(wanted.model, wanted.files) if wanted.skip_unreadable else wanted.files
        told: object = (profile if wanted.profile else predict)(wanted.model, files)
    except PredictionError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    return _print(json.dumps(_for_json(told), indent=2, allow_nan=False) + "\n")


def _print(text: str) -> int:
    """Writes the answer; gives the exit code, which is 0 too where its reader (head, less) has seen enough."""
    try:
        if sys.stdout is None:  # closed by the shell, as in >&-
            raise OSError("it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as problem:
        if sys.stdout is not None:
            # What is left in its buffer is written once more when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(problem, BrokenPipeError):
            return 0
        sys.stderr.write(f"error: the answer can't be written to stdout: {problem.strerror or problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
