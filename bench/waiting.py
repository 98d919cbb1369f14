"""How long should torch's threads spin before they sleep, when they wait for each other?

    python -m bench.waiting [--rounds 3] [--results FILE]

Each figure is from a process of its own, since OpenMP reads its setting once; the settings take turns, alone and beside
processes that keep a core each busy. The answer decides `training/machine/process.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from .answers import with_results

# Values of GOMP_SPINCOUNT; the first is what GNU's OpenMP takes when it is told nothing.
SPINS = (300_000, 30_000, 10_000, 1_000)
BUSY = (0, 1, 2)
# A forward pass is long products one after the other; a training step many short ones, with Python between them.
WORK = {
    "forward": "a MobileNetV2's forward pass (32 images of 96 pixels)",
    "step": "training steps of its last three stages (batches of 32, 4 x 4 pixels)",
}
_TRAINED = 3

Figures = dict[tuple[str, int, int], list[float]]


def images_per_second(seconds: float) -> tuple[float, ...]:
    """Of each kind of `WORK`, with an untrained MobileNetV2 in bf16 and channels_last, warmed up."""
    import torch

    from training.models.backbones import build
    from training.models.lowering import lower
    from training.models.numerics import Numerics

    numerics, device = Numerics("bf16", channels_last=True), torch.device("cpu")
    backbone = build("mobilenet_v2")
    images = torch.rand(32, 3, 96, 96).contiguous(memory_format=numerics.memory_format)
    stages = torch.nn.Sequential(*lower(backbone, len(backbone.stages), numerics, device).frozen)
    cut = len(stages) - _TRAINED
    last = torch.nn.Sequential(*lower(backbone, cut, numerics, device).trained).train()
    rows = torch.rand(32, backbone.widths[cut - 1], 4, 4).contiguous(memory_format=numerics.memory_format)
    optimizer = torch.optim.AdamW(last.parameters(), lr=1e-5, fused=True)

    @torch.inference_mode()
    def forward() -> None:
        with numerics.autocast(device):
            stages(images)

    def step() -> None:
        with numerics.autocast(device):
            features = backbone.pool(last(rows)).float()
        optimizer.zero_grad(set_to_none=True)
        features.square().mean().backward()
        optimizer.step()

    return tuple(_rate(work, len(images), seconds) for work in (forward, step))


def _rate(work: Callable[[], None], images: int, seconds: float) -> float:
    for _ in range(3):
        work()
    passes, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds or passes == 0:
        work()
        passes += 1
    return passes * images / taken


def measure(rounds: int, seconds: float) -> Figures:
    """Images a second, `rounds` times in turn, by (work, spin count, busy processes beside)."""
    figures: Figures = {}
    for _ in range(rounds):
        for busy in BUSY:
            for spin in SPINS:
                for work, rate in zip(WORK, _in_a_process(spin, busy, seconds), strict=True):
                    figures.setdefault((work, spin, busy), []).append(rate)
    return figures


def _in_a_process(spin: int, busy: int, seconds: float) -> list[float]:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        code = (
            "from training.machine.process import configure; configure(); "
            f"from bench.waiting import images_per_second; print(*images_per_second({seconds}))"
        )
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment["GOMP_SPINCOUNT"] = str(spin)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    return [float(word) for word in done.stdout.split()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="in which all take turns")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(with_results(sys.argv[1:] if argv is None else argv))
    figures = measure(options.rounds, options.seconds)

    import torch

    from training import environment, write_versioned_json

    machine = environment(torch.device("cpu"))
    sys.stdout.write(
        "# Threads that wait: spin or sleep?\n\n"
        "Images a second, bf16 and channels_last: median, spread, and the median ratio to the first row in the same "
        "round.\n\n"
        f"- command: `python -m bench.waiting --rounds {options.rounds} --seconds {options.seconds:g}`\n"
        f"- machine: {machine['device']}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n"
        + "".join(f"\n{title[0].upper()}{title[1:]}:\n\n{_table(figures, work)}\n" for work, title in WORK.items())
    )
    if options.results is not None:
        named = [
            {"work": work, "spin": spin, "busy": busy, "images_per_second": values}
            for (work, spin, busy), values in figures.items()
        ]
        write_versioned_json(options.results, {"figures": named, "environment": machine})
    return 0


def _table(figures: Figures, work: str) -> str:
    rows = []
    for spin in SPINS:
        row = [str(spin)]
        for busy in BUSY:
            values = figures[work, spin, busy]
            ratio = statistics.median(a / b for a, b in zip(values, figures[work, SPINS[0], busy], strict=True))
            row.append(f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}); {ratio:.2f}")
        rows.append(row)
    headings = ["GOMP_SPINCOUNT", "alone", *(f"{busy} busy beside" for busy in BUSY[1:])]
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    raise SystemExit(main())
