"""How long should torch's threads spin before they sleep, when they wait for each other?

    python -m bench.waiting [--rounds 3] [--json FILE]

Each figure is from a process of its own, since OpenMP reads its setting once; the settings take turns, alone and beside
processes that keep a core each busy. The answer decides `training/_openmp.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

# Values of GOMP_SPINCOUNT; the first is what GNU's OpenMP takes when it is told nothing.
SPINS = (300_000, 1_000, 0)
BUSY = (0, 1, 2)


def images_per_second(seconds: float) -> float:
    """Forward passes of an untrained MobileNetV2 on 32 images of 96 pixels, bf16, channels_last, warmed up."""
    import torch

    from training.backbones import build
    from training.numerics import Numerics

    numerics, device = Numerics("bf16", channels_last=True), torch.device("cpu")
    stages = numerics.place(torch.nn.Sequential(*build("mobilenet_v2").stages), device)
    images = torch.rand(32, 3, 96, 96).contiguous(memory_format=numerics.memory_format)
    with torch.inference_mode(), numerics.autocast(device):
        stages(images)
        passes, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds or passes == 0:
            stages(images)
            passes += 1
    return passes * len(images) / taken


def measure(rounds: int, seconds: float) -> dict[tuple[int, int], list[float]]:
    """Images a second, `rounds` times in turn, by (spin count, busy processes beside)."""
    figures: dict[tuple[int, int], list[float]] = {}
    for _ in range(rounds):
        for busy in BUSY:
            for spin in SPINS:
                figures.setdefault((spin, busy), []).append(_in_a_process(spin, busy, seconds))
    return figures


def _in_a_process(spin: int, busy: int, seconds: float) -> float:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        code = f"from bench.waiting import images_per_second; print(images_per_second({seconds}))"
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment["GOMP_SPINCOUNT"] = str(spin)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    return float(done.stdout.split()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    figures = measure(options.rounds, options.seconds)

    import torch

    from training import atomic_write_json, environment

    machine = environment(torch.device("cpu"))
    rows = []
    for spin in SPINS:
        row = [str(spin)]
        for busy in BUSY:
            values = figures[spin, busy]
            ratio = statistics.median(a / b for a, b in zip(values, figures[SPINS[0], busy], strict=True))
            row.append(f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}); {ratio:.2f}")
        rows.append(row)
    headings = ["GOMP_SPINCOUNT", "alone", *(f"{busy} busy beside" for busy in BUSY[1:])]
    sys.stdout.write(
        "# Threads that wait: spin or sleep?\n\n"
        "Images a second of a MobileNetV2's forward pass (32 images of 96 pixels, bf16, channels_last): median, "
        f"spread, and the median ratio to the first row in the same round.\n\n"
        f"- command: `python -m bench.waiting --rounds {options.rounds} --seconds {options.seconds:g}`\n"
        f"- machine: {machine['device']}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n\n"
        + tabulate(rows, headings, tablefmt="github", disable_numparse=True)
        + "\n"
    )
    if options.json is not None:
        named = [{"spin": spin, "busy": busy, "images_per_second": values} for (spin, busy), values in figures.items()]
        atomic_write_json(options.json, {"figures": named, "environment": machine})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
