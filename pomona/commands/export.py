"""`pomona export`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces import interval_text, value_text

from ..console import counting, note, print_json, print_lines, print_table
from .options import AsJson, Checkpoint, SkipUnreadable, TrustSplit

if TYPE_CHECKING:
    from training.export.export_int8 import Latency, Quantised
    from training.export.onnx import Export


def export(
    checkpoint: Checkpoint,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE", help="The file to write, NAME.onnx.")],
    data: Annotated[
        str | None, typer.Option(metavar="DIR|FILE", help="Data to compare torch and ONNX on. [default: as trained]")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of a model of photos, write NAME.int8.onnx too, and compare the two.")
    ] = False,
    skip_unreadable: SkipUnreadable = False,
    trust_split: TrustSplit = False,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint as an ONNX file that `pomona predict` answers from without torch.

    The file takes photos as bytes, uint8 (batch, resolution, resolution, 3), rows of a table as they are, float32
    (batch, columns), or the bytes of texts, uint8 (batch, bytes), and gives logits, or values where a number is learnt.
    It is written only if onnxruntime answers as torch does on the examples of the valid split.

    Example: pomona export checkpoints/fruit-1 --onnx fruit.onnx --int8
    """
    from ..use import export_checkpoint

    with counting("reading the data") as progress:
        exported, quantised = export_checkpoint(
            checkpoint,
            onnx,
            data,
            int8,
            skip_unreadable,
            trust_split,
            progress,
            notify=note,
        )
    if as_json:
        payload: dict[str, Any] = exported.to_json()
        print_json(payload | ({"int8": quantised.to_json()} if quantised else {}))
        return
    metric, score = exported.kind.metric, exported.score
    print_lines(
        [
            f"{exported.file}: {_size(exported.bytes)}, {_purpose(exported)}, opset {exported.opset}",
            f"largest difference from torch {exported.max_difference:.1e} on {len(exported.seen)} "
            f"{exported.modality.noun} (allowed: {exported.tolerance:.1e})",
            f"{metric} on them {value_text(metric, score.value)} ({interval_text(metric, score.ci95)})",
        ]
    )
    if quantised is not None:
        _compare(exported, quantised)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _purpose(exported: Export) -> str:
    columns = exported.kind.columns
    predicted = f"{len(exported.classes)} classes" if exported.classes else columns[-1] if columns else "a number"
    return predicted + exported.modality.inputs_text(exported.input, columns)


def _compare(exported: Export, quantised: Quantised) -> None:
    from training.scoring.intervals import accuracy

    batches = list(quantised.latency["int8"])
    rows = []
    for precision, model in (("fp32", exported), ("int8", quantised)):
        score = accuracy(model.correct)
        low, high = score.ci95
        rows.append(
            [
                str(model.file),
                f"{model.bytes / 1e6:.1f}",
                f"{100 * score.value:.2f} ({100 * low:.1f} to {100 * high:.1f})",
                *(_written(quantised.latency[precision][batch]) for batch in batches),
            ]
        )
    print_table(["file", "MB", f"accuracy %, n = {len(exported.seen)}", *(f"ms, batch {b}" for b in batches)], rows)
    medians = {precision: {b: taken[b].median for b in batches} for precision, taken in quantised.latency.items()}
    faster = ", ".join(f"{medians['fp32'][b] / medians['int8'][b]:.2f} times fp32's at batch {b}" for b in batches)
    print_lines(
        [
            f"int8 has {quantised.lost} images wrong that fp32 has right, and {quantised.gained} the other way round "
            f"(calibrated on {quantised.calibration_images} training images); its speed is {faster}"
        ]
    )


def _written(latency: Latency) -> str:
    return f"{latency.median:.2f} ({latency.low:.2f} to {latency.high:.2f})"
