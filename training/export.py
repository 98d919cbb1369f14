"""A checkpoint as an ONNX file, which answers without torch and without pomona.

The file takes what a client holds once Pillow has resized a photo: bytes, uint8 (batch, R, R, 3), RGB, also where the
model itself is grey. Scaling to 0..1 and the backbone's normalisation are part of the graph. So a client needs no
constants and no order of axes that it could get wrong, one that sends floats is refused for their type, and a quarter
of the bytes travel. How a photo becomes those bytes stands in the file's metadata, under names that begin with
`pomona.`, beside the classes.
"""

from __future__ import annotations

import importlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from search_spaces import InputError

from .batches import as_input, to_floats
from .checkpoint import Checkpoint
from .data.decode import DECODING
from .data.splits import Split
from .environment import versions
from .evaluate import predict_outputs
from .files import atomic_path
from .intervals import Estimate, accuracy
from .model import Classifier
from .numerics import Numerics

SUFFIX = ".onnx"
OPSET = 17
"""The first with LayerNormalization; every runtime of the last years reads it."""
FORMAT = 1
INPUT, OUTPUT = "images", "logits"
MOST_IMAGES = 400
"""More are not looked at: the files are compared, not the model judged."""

# Times the largest logit, or 1. Two libraries that add up in another order are a hundredth of that apart.
_TOLERANCE = 1e-4
_BATCH = 32
_PHOTO = {
    "decoding": DECODING,
    "frame": "the first, upright by its EXIF orientation, RGB, transparent parts on white",
    "jpeg": "Pillow's draft mode for (2 * resolution, 2 * resolution)",
    "resize": "the whole picture to (resolution, resolution), aspect not kept, Pillow's BICUBIC with reducing_gap 3.0",
    "input": "uint8 (batch, resolution, resolution, 3)",
    "inside the model": "input / 255, its ITU-R BT.601 luma where mean has one value, minus mean, divided by std",
}


@dataclass(frozen=True, eq=False)
class Export:
    """An ONNX file, as compared with torch on the images of `seen`.

    `max_difference` is the largest between two logits, `tolerance` what was allowed; `correct` has one entry an image.
    """

    file: Path
    bytes: int
    opset: int
    classes: tuple[str, ...]
    resolution: int
    max_difference: float
    tolerance: float
    seen: Split
    correct: tuple[bool, ...]

    @property
    def accuracy(self) -> Estimate:
        return accuracy(self.correct)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "bytes": self.bytes,
            "opset": self.opset,
            "classes": list(self.classes),
            "resolution": self.resolution,
            "max_difference": self.max_difference,
            "tolerance": self.tolerance,
            "images": len(self.seen),
            "accuracy": self.accuracy.value,
            "ci95": list(self.accuracy.ci95),
        }


class Deployed(nn.Module):
    """Photos as bytes (N, R, R, 3) -> logits (N, classes)."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        floats = as_input(to_floats(images, images.device), self.model.resolution, self.model.channels)
        return cast(torch.Tensor, self.model(self.model.normalise(floats)))


def export_onnx(checkpoint: Checkpoint, file: Path, split: Split) -> Export:
    """Writes `checkpoint` to `file` once onnxruntime answers as torch does, both in fp32, on images of `split`.

    Of more than `MOST_IMAGES` images, that many drawn at random (the same ones each time) are compared.

    Raises:
        InputError: onnx or onnxruntime is missing, the backbone can't be exported, the answers differ by more than
            the tolerance, or `file` can't be written. What stood at `file` before is unchanged.
    """
    for name in ("onnx", "onnxruntime"):
        library(name)
    if file.suffix != SUFFIX:
        raise InputError(f"an ONNX file is named {file.stem}{SUFFIX}, not {file.name!r}")
    record, model = checkpoint.record, checkpoint.classifier()
    seen = photos_of(split, record.resolution, most=MOST_IMAGES)
    expected = predict_outputs(model, seen, torch.device("cpu"), Numerics()).numpy()
    tolerance = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
    with atomic_path(file) as temporary:
        try:
            write_graph(model, record.resolution, temporary)
        except torch.onnx.OnnxExporterError as problem:
            reason = str(problem).strip().splitlines()[0]
            raise InputError(f"{record.config.get('backbone')} can't be exported to ONNX: {reason}") from None
        describe(temporary, metadata(checkpoint, model, "fp32"))
        found = answers(open_session(temporary), seen)
        difference = float(np.abs(found - expected).max())
        # Written so that a difference that is no number fails too.
        if not difference <= tolerance:
            raise InputError(
                f"{file} is not written: onnxruntime and torch differ by {difference:.1e} on {len(seen)} images, where "
                f"{tolerance:.1e} is allowed; the backbone may use an operation that the two understand differently"
            )
    return Export(
        file=file,
        bytes=file.stat().st_size,
        opset=OPSET,
        classes=record.classes,
        resolution=record.resolution,
        max_difference=difference,
        tolerance=tolerance,
        seen=seen,
        correct=right(found, seen),
    )


def write_graph(model: Classifier, resolution: int, file: Path) -> None:
    """The graph of `Deployed(model)` for any number of images, without metadata; `model` is frozen by it.

    By the exporter that traces: torch's newer one gives the same graph but asks for one more library, onnxscript.
    """
    deployed = Deployed(model).eval().requires_grad_(False)
    example = torch.zeros(2, resolution, resolution, 3, dtype=torch.uint8)
    # It warns that it is the older one, and of every shape that it takes for constant, as all but the batch are here.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed,
            (example,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )


def metadata(checkpoint: Checkpoint, model: Classifier, precision: str) -> dict[str, str]:
    """What a client must know, and where the model comes from; all but text is JSON."""
    record = checkpoint.record
    mean, std = (cast(torch.Tensor, values).flatten().tolist() for values in (model.mean, model.std))
    entries: dict[str, Any] = {
        "format": FORMAT,
        "task": record.task,
        "classes": record.classes,
        "resolution": record.resolution,
        "mean": [round(value, 6) for value in mean],
        "std": [round(value, 6) for value in std],
        "photo": _PHOTO,
        "precision": precision,
        "version": versions().get("pomona", ""),
        "source": record.source,
        "fingerprint": record.fingerprint,
        "config": record.config,
        "value": record.value,
        "n": record.n,
        "ci95": record.ci95,
    }
    return {
        f"pomona.{name}": value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in entries.items()
    }


def describe(file: Path, entries: dict[str, str]) -> None:
    """Gives the model in `file` these metadata in place of its own."""
    onnx = library("onnx")
    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, entries)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def open_session(file: Path) -> Any:
    """An onnxruntime session on the CPU."""
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # Else threads that spin after one model's answer take the cores from the next one, whose time is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def answers(session: Any, split: Split) -> NDArray[np.float32]:
    """Logits (n, classes) of a split in its order."""
    parts = []
    for start in range(0, len(split), _BATCH):
        images, _ = split.take(torch.arange(start, min(start + _BATCH, len(split))))
        parts.append(session.run([OUTPUT], {INPUT: images.numpy()})[0])
    return np.concatenate(parts)


def right(logits: NDArray[np.float32], split: Split) -> tuple[bool, ...]:
    """Whether the likeliest class of each image is its label."""
    return tuple(bool(hit) for hit in logits.argmax(1) == split.labels.numpy())


def photos_of(split: Split, resolution: int, *, most: int) -> Split:
    """`split`, or `most` of its examples drawn at random, the same ones each time, as a client would send them.

    Small or grey images become bytes (n, resolution, resolution, 3) as well.
    """
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:most].sort().values
    images, labels = split.take(chosen)
    if images.shape[1:] != (resolution, resolution, 3):
        floats = as_input(to_floats(images, images.device), resolution, 3)
        images = (255 * floats).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return Split(images, torch.arange(len(chosen)), labels, (), tuple(split.names[row] for row in chosen.tolist()))


def library(name: str) -> Any:
    """The module `name` of onnx or onnxruntime.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name not in ("onnx", "onnxruntime"):
            raise
        raise InputError(f"the export needs {missing.name}: pip install 'pomona[onnx]'") from None
