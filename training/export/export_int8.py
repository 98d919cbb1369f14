"""An exported model in 8 bits: static quantisation after training, and what it costs and gains.

Weights are quantised per channel, activations by the smallest and largest value that photos of the training split
bring about (Jacob et al., CVPR 2018, arXiv 1712.05877). Everything but the arithmetic is as in the fp32 file.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import InputError

from ..data.modalities import modality_named
from ..data.splits import Split
from ..machine.files import atomic_path
from ..scoring.intervals import Estimate, accuracy
from .onnx import SUFFIX, Export, describe, library, open_session, predictions, right, sample_of

CALIBRATION_IMAGES = 128
BATCHES = (1, 32)

_CALIBRATION_BATCH = 16
# Where the time goes, with the activations that melt into them. Of an EfficientNet-Lite0 at 97.0 % 96.4 % were left
# with these, and 94.0 % with everything that onnxruntime can quantise, at equal speed.
_OPERATIONS = ("Conv", "Gemm", "MatMul", "Clip", "Relu")
# Where a channel's weights are next to nothing, so would be the step of its bias, which then overflows 32 bits.
_LEAST_RANGE = 1e-4
_TIMED_SECONDS = 3.0
_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one answer: the median of many, and the quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Quantised:
    """An int8 file beside the fp32 one, on the same images.

    Of them `lost` were right in fp32 and are wrong now, `gained` the other way round. `latency` is by precision
    (`fp32`, `int8`) and batch size.
    """

    file: Path
    bytes: int
    calibration_images: int
    correct: tuple[bool, ...]
    lost: int
    gained: int
    latency: dict[str, dict[int, Latency]]

    @property
    def accuracy(self) -> Estimate:
        return accuracy(self.correct)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "bytes": self.bytes,
            "calibration_images": self.calibration_images,
            "accuracy": self.accuracy.value,
            "ci95": list(self.accuracy.ci95),
            "lost": self.lost,
            "gained": self.gained,
            "milliseconds": {
                precision: {str(batch): asdict(taken) for batch, taken in by_batch.items()}
                for precision, by_batch in self.latency.items()
            },
        }


def check_quantisable(modality: str, models: int = 1) -> None:
    """
    Raises:
        InputError: models of this modality are not worth it, or there are several in one.
    """
    if models > 1:
        raise InputError("8 bits are for single models, and this is an ensemble: leave --int8 out")
    if not modality_named(modality).quantisable:
        raise InputError("8 bits are for models of images: those of tables and texts are small, leave --int8 out")


def quantise(export: Export, calibration: Split) -> Quantised:
    """Writes the int8 file beside the exported one (`model.int8.onnx` beside `model.onnx`) and compares the two.

    Args:
        calibration: photos of the training split; of more than `CALIBRATION_IMAGES` that many are drawn.

    Raises:
        InputError: as from `check_quantisable`, onnxruntime or onnx is missing, or the file can't be written.
    """
    check_quantisable(export.kind.modality)
    file = export.file.with_suffix(f".int8{SUFFIX}")
    shown = sample_of(calibration, export.kind, export.resolution, most=CALIBRATION_IMAGES)
    with atomic_path(file) as temporary:
        _quantise(export, temporary, shown)
    sessions = {"fp32": open_session(export.file), "int8": open_session(file)}
    correct = right(predictions(sessions["int8"], export.seen), export.seen)
    pairs = list(zip(export.correct, correct, strict=True))
    images = export.seen.take(torch.arange(min(len(export.seen), max(BATCHES))))[0].numpy()
    timed = {
        batch: _latency(sessions, {export.input.name: np.resize(images, (batch, *images.shape[1:]))})
        for batch in BATCHES
    }
    return Quantised(
        file=file,
        bytes=file.stat().st_size,
        calibration_images=len(shown),
        correct=correct,
        lost=pairs.count((True, False)),
        gained=pairs.count((False, True)),
        latency={name: {batch: timed[batch][name] for batch in BATCHES} for name in sessions},
    )


class _Calibration:
    """Batches of a split for the input `name`, one a call, as onnxruntime's calibration asks for them."""

    def __init__(self, split: Split, name: str) -> None:
        self._split = split
        self._name = name
        self._start = 0

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        index = torch.arange(self._start, min(self._start + _CALIBRATION_BATCH, len(self._split)))
        self._start += len(index)
        return {self._name: self._split.take(index)[0].numpy()} if len(index) else None


def _quantise(export: Export, target: Path, calibration: Split) -> None:
    source = export.file
    quantization = library("onnxruntime.quantization")
    preparation = library("onnxruntime.quantization.shape_inference")
    entries = {entry.key: entry.value for entry in library("onnx").load(str(source)).metadata_props}
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, f"prepared{SUFFIX}")
        # The symbolic inference of shapes is for models whose shapes vary; here only the batch does.
        preparation.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(target),
            _Calibration(calibration, export.input.name),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATIONS),
            per_channel=True,
            # Weights in 7 bits: the file travels, and on an x86 processor without VNNI the sums of products with full
            # ones overflow, silently. Where it has VNNI, full ones lose less: 0.3 and 1.2 points less in two trials.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MinimumRealRange": _LEAST_RANGE},
        )
    describe(target, entries | {"pomona.precision": "int8"})


def _latency(sessions: Mapping[str, Any], inputs: dict[str, NDArray[Any]]) -> dict[str, Latency]:
    """The time of one answer of each, taken in turns so that a busy moment hits all alike, after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for session in [*sessions.values()] * 2:
        session.run(None, inputs)
    deadline = time.perf_counter() + _TIMED_SECONDS
    while time.perf_counter() < deadline or min(map(len, times.values())) < _LEAST_ROUNDS:
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, inputs)
            times[name].append(1000 * (time.perf_counter() - start))
    quartiles = {name: statistics.quantiles(taken, n=4, method="inclusive") for name, taken in times.items()}
    return {name: Latency(median, low, high) for name, (low, median, high) in quartiles.items()}
