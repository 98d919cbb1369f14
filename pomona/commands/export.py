"""`pomona export`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import counting, print_answer, print_table
from .options import AsJson, Checkpoint, SkipUnreadable

if TYPE_CHECKING:
    from training.export import Export
    from training.export_int8 import Latency, Quantised


def export(
    checkpoint: Checkpoint,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE", help="The file to write, NAME.onnx.")],
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Photos to compare torch and ONNX on. [default: as trained]")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Write NAME.int8.onnx too, and compare the two.")] = False,
    skip_unreadable: SkipUnreadable = False,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint as an ONNX file that `pomona predict` answers from without torch.

    The file takes photos as bytes, uint8 (batch, resolution, resolution, 3), and gives logits. It is written only if
    onnxruntime answers as torch does on the photos of the valid split.

    Example: [bold]pomona export checkpoints/fruit-1 --onnx fruit.onnx --int8[/bold]
    """
    from ..use import export_checkpoint

    with counting("reading the photos") as progress:
        exported, quantised = export_checkpoint(checkpoint, onnx, data, int8, skip_unreadable, progress)
    if as_json:
        told: dict[str, Any] = exported.to_json()
        print_answer(json.dumps(told | ({"int8": quantised.to_json()} if quantised else {}), indent=2))
        return
    print_answer(
        f"{exported.file}: {exported.bytes / 1e6:.1f} MB, {len(exported.classes)} classes, photos of "
        f"{exported.resolution} x {exported.resolution}, opset {exported.opset}\n"
        f"largest difference from torch {exported.max_difference:.1e} on {len(exported.seen)} images "
        f"(allowed: {exported.tolerance:.1e})"
    )
    if quantised is not None:
        _compare(exported, quantised)


def _compare(exported: Export, quantised: Quantised) -> None:
    batches = list(quantised.latency["int8"])
    rows = []
    for precision, model in (("fp32", exported), ("int8", quantised)):
        low, high = model.accuracy.ci95
        rows.append(
            [
                str(model.file),
                f"{model.bytes / 1e6:.1f}",
                f"{100 * model.accuracy.value:.2f} ({100 * low:.1f} to {100 * high:.1f})",
                *(_written(quantised.latency[precision][batch]) for batch in batches),
            ]
        )
    print_table(["file", "MB", f"accuracy %, n = {len(exported.seen)}", *(f"ms, batch {b}" for b in batches)], rows)
    medians = {precision: {b: taken[b].median for b in batches} for precision, taken in quantised.latency.items()}
    faster = ", ".join(f"{medians['fp32'][b] / medians['int8'][b]:.2f} times fp32's at batch {b}" for b in batches)
    print_answer(
        f"int8 has {quantised.lost} images wrong that fp32 has right, and {quantised.gained} the other way round "
        f"(calibrated on {quantised.calibration_images} training images); its speed is {faster}"
    )


def _written(latency: Latency) -> str:
    return f"{latency.median:.2f} ({latency.low:.2f} to {latency.high:.2f})"
