"""Texts: short ones, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces import InputError, Task

from ..previews import Lines
from ..splits import Labelled, Split
from ..texts import BYTES, TextSet, encode_texts, lines_of, read_labelled_texts, read_texts
from .modality import InputSignature, Kind, Modality, ModelInput, Reading, check_undivided, numbered

_CLIENT = {
    "encoding": "UTF-8, zero bytes left out, cut to `bytes`, zeros after a shorter text",
    "bytes": BYTES,
    "input": "uint8 (batch, bytes)",
    "inside the model": "lower case, words and n-grams, hashing",
}


class Texts(Modality):
    """A file with `label<TAB>text` a line, or a folder that holds one."""

    noun = "texts"
    preview_size = (32, 128)

    def wanted(self, task: Task) -> str:
        named = f" with the classes {', '.join(task.classes)}" if task.classes else ""
        return f"--data FILE: one label, a tab and a text a line{named}"

    def open(self, source: str | Path, kind: Kind, reading: Reading) -> TextSet:
        return read_texts(Path(source), seed=reading.seed)

    def open_labelled(
        self,
        source: str,
        classes: Sequence[str],
        kind: Kind,
        split: str | None,
        resolution: int,
        reading: Reading,
    ) -> Labelled:
        check_undivided(source, split)
        return Labelled(read_labelled_texts(Path(source), classes))

    def unlabelled(self, paths: Sequence[Path], kind: Kind, resolution: int) -> tuple[Tensor, tuple[str, ...]]:
        files = [_lines(path) for path in paths]
        inputs = encode_texts([line for lines in files for line in lines])
        return inputs, tuple(numbered(paths, [len(lines) for lines in files], "line"))

    def preview(self, split: Split, index: Tensor, classes: Sequence[str], columns: Sequence[str] = ()) -> Lines:
        """As far as the model reads them."""
        inputs, labels = split.take(index)
        texts = (bytes(row).rstrip(b"\0").decode(errors="replace") for row in inputs.numpy())
        named = (classes[label] for label in labels.tolist())
        return Lines(("class", "text"), tuple(zip(named, texts, strict=True)))

    def signature(self, kind: Kind, model: ModelInput) -> InputSignature:
        return InputSignature("texts", (BYTES,), torch.uint8)

    def inputs_text(self, signature: InputSignature, columns: Sequence[str] = ()) -> str:
        return f", texts of up to {signature.shape[0]} bytes"

    def export_metadata(self, model: ModelInput) -> dict[str, Any]:
        return {"text": _CLIENT}


def _lines(path: Path) -> list[str]:
    lines = lines_of(path)
    if lines == [""]:
        raise InputError(f"{path} is empty: one text a line")
    return lines
