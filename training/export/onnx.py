"""A checkpoint as an ONNX file, which answers without torch and without pomona.

The file takes what a client holds:
- once Pillow has resized a photo, bytes, uint8 (batch, R, R, 3), RGB, also where the model itself is grey. Scaling to
  0..1 and the backbone's normalisation are part of the graph;
- the numbers of a table's rows as they are, float32 (batch, features), or float64 where the digits of a column take
  that. Standardising them is part of the graph;
- the bytes of a text, uint8 (batch, bytes). Words, their counting and hashing are part of the graph.

So a client needs no constants, no vocabulary and no order of axes that it could get wrong, and one that sends another
type is refused. How a photo or a text becomes its bytes, and which columns a row has, stands in the file's metadata,
under names that begin with `pomona.`, beside the classes.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from search_spaces import InputError

from ..data.modalities import InputSignature, Kind, Modality, ModelInput, modality_named
from ..data.packed import at_resolution, pack
from ..data.splits import Split
from ..lanes.checkpoint import Checkpoint
from ..machine.environment import versions
from ..machine.files import atomic_path
from ..models.classifier import Classifier
from ..models.ensemble import Ensemble
from ..models.numerics import Numerics
from ..models.spec import spec_of
from ..scoring.intervals import Estimate, accuracy
from .evaluate import predict_outputs, score_of

SUFFIX = ".onnx"
OPSET = 17
"""The first with LayerNormalization; every runtime of the last years reads it."""
FORMAT = 1
MOST_EXAMPLES = 400
"""More are not looked at: the files are compared, not the model judged."""

# Times the largest output; of logits, which may all be small, times 1 at least. Two libraries that add up in another
# order are a hundredth of that apart.
_TOLERANCE = 1e-4
_BATCH = 32
# onnxruntime's names of what a file takes.
_INPUT_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(double)": np.float64}


@dataclass(frozen=True)
class Signature:
    """What a file takes, and the name of what it gives: logits (batch, classes) or values (batch, 1)."""

    input: InputSignature
    output: str

    @staticmethod
    def of(kind: Kind, *models: ModelInput) -> Signature:
        """Of several models that see one example differently the inputs are joined, in the order of `Packed`."""
        inputs = {modality_named(kind.modality).signature(kind, model): None for model in models}
        first, *others = sorted(inputs, key=lambda one: one.shape)
        if others:
            first = replace(first, shape=(sum(math.prod(one.shape) for one in inputs),))
        return Signature(first, "values" if kind.numeric else "logits")


@dataclass(frozen=True, eq=False)
class Export:
    """An ONNX file that takes `input`, as compared with torch on the examples of `seen`.

    `max_difference` is the largest between two outputs, `tolerance` what was allowed. `score` is the value of the
    task's metric on these examples, by the file's answers; `correct` has one entry an example where there are classes.
    """

    file: Path
    bytes: int
    opset: int
    kind: Kind
    input: InputSignature
    classes: tuple[str, ...]
    resolution: int
    max_difference: float
    tolerance: float
    seen: Split
    score: Estimate
    correct: tuple[bool, ...]

    @property
    def modality(self) -> Modality:
        return modality_named(self.kind.modality)

    def to_json(self) -> dict[str, Any]:
        """Of images with `resolution` and `images`, of a table with `columns`, of classes with `accuracy`."""
        payload: dict[str, Any] = {
            "file": str(self.file),
            "bytes": self.bytes,
            "opset": self.opset,
            "modality": self.kind.modality,
            "classes": list(self.classes),
            "max_difference": self.max_difference,
            "tolerance": self.tolerance,
            "metric": self.kind.metric,
            "value": self.score.value,
            "n": self.score.n,
            "ci95": list(self.score.ci95),
        }
        if self.modality.has_resolution:
            payload |= {"resolution": self.resolution, self.modality.noun: len(self.seen)}
        if self.kind.columns:
            payload |= {"columns": list(self.kind.columns)}
        if self.correct:
            payload |= {"accuracy": accuracy(self.correct).value}
        return payload


class Deployed(nn.Module):
    """What a client holds, as a split holds it -> logits (N, classes) or numbers (N, 1)."""

    def __init__(self, model: Classifier | Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.model.answers(inputs, Numerics())


def check_file(file: Path) -> None:
    """
    Raises:
        InputError: onnx or onnxruntime is missing, or no ONNX file can be written there, as far as that can be told
            without making its folder.
    """
    for name in ("onnx", "onnxruntime"):
        library(name)
    if file.suffix != SUFFIX:
        raise InputError(f"an ONNX file is named {file.stem}{SUFFIX}, not {file.name!r}")
    if os.path.isdir(file):
        raise InputError(f"{file} is a folder: choose another name for the file")
    folder = next((parent for parent in file.absolute().parents if os.path.lexists(parent)), file.parent)
    if not os.path.isdir(folder):
        raise InputError(f"cannot write {file}: {folder} is in the way and is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {file}: {folder} may not be written to, choose another folder")


def export_onnx(checkpoint: Checkpoint, file: Path, split: Split) -> Export:
    """Writes `checkpoint` to `file` once onnxruntime answers as torch does, both in fp32, on examples of `split`.

    Of more than `MOST_EXAMPLES`, that many drawn at random (the same ones each time) are compared.

    Raises:
        InputError: onnx or onnxruntime is missing, the backbone can't be exported, the answers differ by more than
            the tolerance, or `file` can't be written. What stood at `file` before is unchanged.
    """
    check_file(file)
    record, model = checkpoint.record, checkpoint.classifier()
    sample = {r: sample_of(at_resolution(split, r), record.kind, r, most=MOST_EXAMPLES) for r in checkpoint.resolutions}
    seen = pack(sample)
    signature = Signature.of(record.kind, *(model_input(one) for one in model.classifiers))
    # The file holds torch's own modules; what it must agree with is the model as it is scored.
    scored = checkpoint.classifier(torch.device("cpu"), Numerics())
    expected = predict_outputs(scored, seen, torch.device("cpu"), Numerics()).numpy()
    tolerance = _TOLERANCE * max(1.0 if record.classes else 0.0, float(np.abs(expected - record.offset).max()))
    with atomic_path(file) as temporary:
        try:
            write_graph(model, signature, temporary)
        except torch.onnx.OnnxExporterError as problem:
            reason = str(problem).strip().splitlines()[0]
            names = ", ".join(dict.fromkeys(spec_of(config).backbone.name for config in checkpoint.configs))
            raise InputError(f"{names} can't be exported to ONNX: {reason}") from None
        describe(temporary, metadata(checkpoint, model, "fp32"))
        found = predictions(open_session(temporary), seen)
        difference = float(np.abs(found - expected).max())
        # Written so that a difference that is no number fails too.
        if not difference <= tolerance:
            raise InputError(
                f"{file} is not written: onnxruntime and torch differ by {difference:.1e} on {len(seen)} examples, "
                f"{tolerance:.1e} is allowed; the backbone may use an operation that the two understand differently"
            )
    metric = checkpoint.objective.metric
    return Export(
        file=file,
        bytes=file.stat().st_size,
        opset=OPSET,
        kind=record.kind,
        input=signature.input,
        classes=record.classes,
        resolution=record.taken,
        max_difference=difference,
        tolerance=tolerance,
        seen=seen,
        score=score_of(metric, metric.predictions(torch.from_numpy(found)), seen.labels),
        correct=right(found, seen) if record.classes else (),
    )


def write_graph(model: Classifier | Ensemble, signature: Signature, file: Path) -> None:
    """The graph of `Deployed(model)` for any number of examples, without metadata; `model` is frozen by it.

    By the exporter that traces: torch's newer one gives the same graph but asks for one more library, onnxscript.
    """
    deployed = Deployed(model).eval().requires_grad_(False)
    example = torch.zeros(2, *signature.input.shape, dtype=signature.input.dtype)
    # It warns that it is the older one, and of every shape that it takes for constant, as all but the batch are here.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed,
            (example,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=[signature.input.name],
            output_names=[signature.output],
            dynamic_axes={signature.input.name: {0: "batch"}, signature.output: {0: "batch"}},
        )


def metadata(checkpoint: Checkpoint, model: Classifier | Ensemble, precision: str) -> dict[str, str]:
    """What a client must know, and where the model comes from; all but text is JSON."""
    record = checkpoint.record
    entries: dict[str, Any] = {
        "format": FORMAT,
        "task": record.task,
        "modality": record.modality,
        "metric": record.metric,
        "classes": record.classes,
        "columns": record.columns,
        **modality_named(record.modality).export_metadata(input_of(model)),
        "precision": precision,
        "version": versions().get("pomona", ""),
        "source": record.source,
        "fingerprint": record.fingerprint,
        "config": checkpoint.configs if isinstance(model, Ensemble) else record.config,
        "value": record.value,
        "n": record.n,
        "ci95": record.ci95,
    }
    return {
        f"pomona.{name}": value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in entries.items()
    }


def model_input(model: Classifier) -> ModelInput:
    """What `model` does with its inputs."""
    fitted = dict(model.stages[0].named_buffers())
    if not model.takes_images:
        return ModelInput(fitted=fitted)
    mean, std = (tuple(cast(torch.Tensor, values).flatten().tolist()) for values in (model.mean, model.std))
    return ModelInput(model.side, mean, std, fitted)


def input_of(model: Classifier | Ensemble) -> ModelInput:
    """As `model_input`, of several the one that sees an example largest; without what they do differently."""
    inputs = sorted((model_input(one) for one in model.classifiers), key=lambda one: one.resolution)
    largest = inputs[-1]
    if len({(one.mean, one.std) for one in inputs}) > 1:
        largest = replace(largest, mean=(), std=())
    resolutions = tuple(dict.fromkeys(one.resolution for one in inputs))
    return replace(largest, resolutions=resolutions if len(resolutions) > 1 else ())


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


def predictions(session: Any, split: Split) -> NDArray[Any]:
    """Logits (n, classes) or numbers (n, 1) of a split in its order."""
    (asked,) = session.get_inputs()
    dtype = _INPUT_TYPES[asked.type]
    parts = []
    for start in range(0, len(split), _BATCH):
        inputs, _ = split.take(torch.arange(start, min(start + _BATCH, len(split))))
        parts.append(session.run(None, {asked.name: inputs.numpy().astype(dtype, copy=False)})[0])
    return np.concatenate(parts)


def right(logits: NDArray[Any], split: Split) -> tuple[bool, ...]:
    """Whether the likeliest class of each example is its label."""
    return tuple(bool(hit) for hit in logits.argmax(1) == split.labels.numpy())


def sample_of(split: Split, kind: Kind, resolution: int, *, most: int) -> Split:
    """`split`, or `most` of its examples drawn at random, the same ones each time, as a client would send them."""
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:most].sort().values
    inputs, labels = split.take(chosen)
    names = tuple(split.names[row] for row in chosen.tolist())
    sample = Split(inputs, torch.arange(len(chosen)), labels, (), names)
    return modality_named(kind.modality).export_sample(sample, resolution)


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
