"""How fast is a forward pass when torch's threads spin while they wait, and when they sleep?

    python -m bench.waiting [--rounds 5] [--json FILE]

Each figure is from a process of its own, since OpenMP reads its setting once; the settings take turns, alone and beside
a process that keeps one core busy. The answer decides `training/_openmp.py`.
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

POLICIES = ("ACTIVE", "PASSIVE")


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


def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images a second of every setting, `rounds` times in turn; keys are `POLICY` and `POLICY, busy`."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        for busy in (False, True):
            for policy in POLICIES:
                name = f"{policy}, busy" if busy else policy
                figures.setdefault(name, []).append(_in_a_process(policy, busy, seconds))
    return figures


def _in_a_process(policy: str, busy: bool, seconds: float) -> float:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        code = f"from bench.waiting import images_per_second; print(images_per_second({seconds}))"
        environment = os.environ | {"OMP_WAIT_POLICY": policy}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    finally:
        if burner is not None:
            burner.kill()
            burner.wait()
    return float(done.stdout.split()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    figures = measure(options.rounds, options.seconds)

    import torch

    from training import atomic_write_json, environment

    machine = environment(torch.device("cpu"))
    rows = [
        [name, f"{statistics.median(values):.0f}", f"{min(values):.0f} to {max(values):.0f}"]
        for name, values in figures.items()
    ]
    ratios = {
        suffix: statistics.median(
            passive / active
            for active, passive in zip(figures[f"ACTIVE{suffix}"], figures[f"PASSIVE{suffix}"], strict=True)
        )
        for suffix in ("", ", busy")
    }
    sys.stdout.write(
        f"Command: `python -m bench.waiting --rounds {options.rounds} --seconds {options.seconds:g}`; "
        f"{machine['device']}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n\n"
        + tabulate(rows, ["OMP_WAIT_POLICY", "images/s, median", "spread"], tablefmt="github", disable_numparse=True)
        + "\n\nPASSIVE over ACTIVE, median of the rounds: "
        + f"{ratios['']:.2f} alone, {ratios[', busy']:.2f} beside a busy process.\n"
    )
    if options.json is not None:
        atomic_write_json(options.json, {"images_per_second": figures, "environment": machine})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
