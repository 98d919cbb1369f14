"""In which precision and memory layout a device trains fastest: measured, not assumed."""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from search_spaces import InputError

from .backbones import Backbone, build
from .cache import cache_folder
from .files import atomic_write_json
from .precision import Numerics as Numerics

PRECISIONS = ("fp32", "bf16")
_IMAGES = 16
_TRAINED_STAGES = 3


@dataclass(frozen=True)
class Measured:
    """The choice for a device, and the speed of every candidate in images per second."""

    numerics: Numerics
    images_per_second: dict[str, float]
    cached: bool


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"unknown device {name!r}: auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device here: use --device cpu, or install a torch build with CUDA")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{_processor()}, {torch.get_num_threads()} threads"


def measure_numerics(device: torch.device, seconds: float = 0.3) -> Measured:
    """Times training steps in each precision and layout, and keeps the answer.

    The step is what a search spends its time on: a MobileNetV2 with all but the last stages frozen. A candidate must
    beat plain fp32 by a tenth to be chosen, so that noise does not decide. The answer is cached by device and torch
    version: one machine keeps one choice, and with it one result for a seed.
    """
    path = cache_folder("numerics.json")
    key = f"{describe_device(device)}; torch {torch.__version__}"
    known = _read(path.read_text()) if path.is_file() else {}
    if key in known:
        entry = known[key]
        return Measured(Numerics(**entry["numerics"]), entry["images_per_second"], cached=True)
    candidates = [Numerics(precision, layout) for precision in PRECISIONS for layout in (False, True)]
    steps = _steps(candidates, device)
    # Processor time, on a CPU: other work on the machine does not count as ours.
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[Numerics, list[float]] = {candidate: [] for candidate in candidates}
    for step in steps.values():
        step()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times[candidates[0]]) < 3:
        for candidate, step in steps.items():  # interleaved, so that a busy moment hits all alike
            start = clock()
            step()
            times[candidate].append(clock() - start)
    threads = 1 if device.type == "cuda" else torch.get_num_threads()
    speeds = {candidate: _IMAGES * threads / min(taken) for candidate, taken in times.items()}
    best = max(candidates, key=lambda candidate: speeds[candidate])
    chosen = best if speeds[best] > 1.1 * speeds[candidates[0]] else candidates[0]
    named = {str(candidate): round(speed, 1) for candidate, speed in speeds.items()}
    known[key] = {"numerics": asdict(chosen), "images_per_second": named}
    atomic_write_json(path, known)
    return Measured(chosen, named, cached=False)


def _steps(candidates: Sequence[Numerics], device: torch.device) -> dict[Numerics, Callable[[], None]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build("mobilenet_v2")
        images = torch.rand(_IMAGES, 3, 128, 128).to(device)
    return {candidate: _step(backbone, images, device, candidate) for candidate in candidates}


def _step(backbone: Backbone, images: torch.Tensor, device: torch.device, numerics: Numerics) -> Callable[[], None]:
    stages = nn.ModuleList(copy.deepcopy(backbone.stages))
    numerics.place(stages, device)
    batch = images.contiguous(memory_format=numerics.memory_format)
    cut = len(stages) - _TRAINED_STAGES

    def step() -> None:
        with numerics.autocast(device):
            features = batch
            with torch.no_grad():
                for stage in stages[:cut]:
                    features = stage(features)
            for stage in stages[cut:]:
                features = stage(features)
        features.float().square().mean().backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def _read(text: str) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}  # a cache that can't be read is measured again


@lru_cache(maxsize=1)
def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or f"{os.cpu_count()} cores"
