"""How are frozen stages computed fastest on several cores: all cores on each piece, or a piece on each core?

    python -m bench.pieces [--rounds 5] [--results FILE]

All ways take turns on the same random images, with untrained backbones. `rows_at_once` and `side_by_side` follow the
answer; the first way is what they replaced.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported.
    configure()

import torch
from torch import nn

from training import environment, write_versioned_json
from training.frozen.sizes import rows_at_once
from training.machine.side_by_side import side_by_side
from training.models.backbones import build
from training.models.lowering import lower
from training.models.numerics import Numerics

from .answers import with_results

BACKBONES = ("timm:tf_efficientnet_lite0", "mobilenet_v2", "squeezenet1_1")
RESOLUTIONS = (96, 128, 160, 224)
IMAGES = 96
LARGE = 32
WAYS = {
    "large": f"{LARGE} at once, all cores",
    "small": "as many as caches hold, all cores",
    "each": "as many as caches hold, a core each",
}
CPU = torch.device("cpu")

Figures = dict[tuple[str, int, str], list[float]]


def measure(rounds: int, numerics: Numerics) -> Figures:
    """Images a second, `rounds` times in turn, by (backbone, resolution, way)."""
    figures: Figures = {}
    for name in BACKBONES:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            backbone = build(name)
        stages = [*lower(backbone, len(backbone.stages), numerics, CPU).frozen]
        for resolution in RESOLUTIONS:
            images = torch.rand(IMAGES, 3, resolution, resolution).contiguous(memory_format=numerics.memory_format)
            for way in WAYS:
                _passed(way, stages, images, numerics)
            for _ in range(rounds):
                for way in WAYS:
                    started = time.perf_counter()
                    _passed(way, stages, images, numerics)
                    taken = time.perf_counter() - started
                    figures.setdefault((name, resolution, way), []).append(IMAGES / taken)
    return figures


def _passed(way: str, stages: Sequence[nn.Module], images: torch.Tensor, numerics: Numerics) -> None:
    @torch.no_grad()
    def through(piece: torch.Tensor) -> torch.Tensor:
        with numerics.autocast(CPU):
            for stage in stages:
                piece = stage(piece)
        return piece

    pieces = torch.split(images, LARGE if way == "large" else rows_at_once(images[0].numel(), CPU))
    results = side_by_side(through, pieces, CPU) if way == "each" else map(through, pieces)
    assert sum(len(piece) for piece in results) == len(images)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pieces", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="in which all take turns")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(with_results(sys.argv[1:] if argv is None else argv))
    numerics = Numerics(options.precision, channels_last=True)
    figures = measure(options.rounds, numerics)
    machine = environment(CPU)
    sys.stdout.write(
        "# Frozen stages: all cores on each piece, or a piece on each core?\n\n"
        f"Images a second, {numerics}: median, spread, and the median ratio to the first way in the same round.\n\n"
        f"- command: `python -m bench.pieces --rounds {options.rounds} --precision {options.precision}`\n"
        f"- machine: {machine['device']}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n\n"
        f"{_table(figures)}\n"
    )
    if options.results is not None:
        named = [
            {"name": backbone, "pixels": resolution, "way": WAYS[way], "images_per_second": values}
            for (backbone, resolution, way), values in figures.items()
        ]
        write_versioned_json(options.results, {"figures": named, "environment": machine})
    return 0


def _table(figures: Figures) -> str:
    rows = []
    for backbone, resolution in {(backbone, resolution): None for backbone, resolution, _ in figures}:
        first = figures[backbone, resolution, next(iter(WAYS))]
        row = [backbone, str(resolution)]
        for way in WAYS:
            values = figures[backbone, resolution, way]
            ratio = statistics.median(a / b for a, b in zip(values, first, strict=True))
            row.append(f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}); {ratio:.2f}")
        rows.append(row)
    return tabulate(rows, ["stages of", "pixels", *WAYS.values()], tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    raise SystemExit(main())
