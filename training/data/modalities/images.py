"""What photos and grey images have in common: what models see of them, and what an exported model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces import Task

from ...machine.display import display_name
from ..batches import as_input, to_floats
from ..decode import DECODING
from ..photos import read_photos, unreadable_photos
from ..previews import Pictures
from ..splits import Split
from .modality import InputSignature, Kind, Modality, ModelInput

_CLIENT = {
    "decoding": DECODING,
    "frame": "the first, upright by its EXIF orientation, RGB, transparent parts on white",
    "grey of 16 or 32 bits": "by the smallest of 8, 10, 12, 14 and 16 bits that holds the file's largest value",
    "jpeg": "Pillow's draft mode for (2 * resolution, 2 * resolution)",
    "resize": "the whole picture to (resolution, resolution), aspect not kept, Pillow's BICUBIC with reducing_gap 3.0",
    "input": "uint8 (batch, resolution, resolution, 3)",
    "inside the model": "input / 255, its ITU-R BT.601 luma where mean has one value, minus mean, divided by std",
}
_JOINED = {"input": "uint8 (batch, n): the photo in each of `resolutions` as (resolution, resolution, 3), flat, joined"}


class Images(Modality):
    """Pixels: uint8 (n, R, R, 3), or (n, R, R, 1) where they are grey."""

    noun = "images"
    preview_size = (16, 128)
    has_resolution = True
    quantisable = True

    def wanted(self, task: Task) -> str:
        named = f" with the classes {', '.join(task.classes)}" if task.classes else ""
        return f"--data DIR: a folder of photos, DIR/<split>/<class>/ or DIR/<class>/{named}"

    def unlabelled(self, paths: Sequence[Path], kind: Kind, resolution: int) -> tuple[Tensor, tuple[str, ...]]:
        return read_photos(paths, resolution), tuple(display_name(str(path)) for path in paths)

    def unreadable(self, paths: Sequence[Path], kind: Kind) -> dict[Path, str]:
        return unreadable_photos(paths)

    def preview(self, split: Split, index: Tensor, classes: Sequence[str], columns: Sequence[str] = ()) -> Pictures:
        keys = split.keys or split.names
        images = to_floats(split.take(index)[0], torch.device("cpu"))
        return Pictures(images, tuple(keys[place] for place in index.tolist()))

    def signature(self, kind: Kind, model: ModelInput) -> InputSignature:
        return InputSignature("images", (model.resolution, model.resolution, 3), torch.uint8)

    def inputs_text(self, signature: InputSignature, columns: Sequence[str] = ()) -> str:
        if len(signature.shape) == 1:
            return ", photos in several resolutions"
        height, width, _ = signature.shape
        return f", photos of {height} x {width}"

    def export_sample(self, sample: Split, resolution: int) -> Split:
        """Bytes (n, resolution, resolution, 3), also of small or grey images."""
        images = sample.inputs
        if images.shape[1:] == (resolution, resolution, 3):
            return sample
        floats = as_input(to_floats(images, images.device), resolution, 3)
        return replace(sample, inputs=(255 * floats).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous())

    def export_metadata(self, model: ModelInput) -> dict[str, Any]:
        several = {"resolutions": list(model.resolutions)} if model.resolutions else {}
        return several | {
            "resolution": model.resolution,
            "mean": [round(value, 6) for value in model.mean],
            "std": [round(value, 6) for value in model.std],
            "photo": _CLIENT | (_JOINED if model.resolutions else {}),
        }
