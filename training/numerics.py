"""In which precision and memory layout a device trains fastest: measured, not assumed."""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from search_spaces import InputError

from .cache import cache_folder
from .files import atomic_write_json

PRECISIONS = ("fp32", "bf16")
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Numerics:
    """How tensors are laid out and multiplied. Weights stay fp32; `bf16` means autocast of the backbone."""

    precision: str = "fp32"
    channels_last: bool = False

    def autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, module: ModuleT, device: torch.device) -> ModuleT:
        """`module` on `device` in this layout."""
        # torch's annotations forget this keyword.
        return module.to(device=device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def __str__(self) -> str:
        return f"{self.precision}, {'channels_last' if self.channels_last else 'contiguous'}"


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


def measure_numerics(device: torch.device, seconds: float = 1.0) -> Measured:
    """Times a training step of a small network of the usual parts in each precision and layout, and keeps the answer.

    A candidate must beat plain fp32 by a tenth to be chosen, so that noise does not decide. The answer is cached by
    device and torch version: one machine keeps one choice, and with it one result for a seed.
    """
    path = cache_folder("numerics.json")
    key = f"{describe_device(device)}; torch {torch.__version__}"
    known = _read(path.read_text()) if path.is_file() else {}
    if key in known:
        entry = known[key]
        return Measured(Numerics(**entry["numerics"]), entry["images_per_second"], cached=True)
    candidates = [Numerics(precision, layout) for precision in PRECISIONS for layout in (False, True)]
    network, images = _probe(device)
    steps = {candidate: _step(network, images, device, candidate) for candidate in candidates}
    times: dict[Numerics, list[float]] = {candidate: [] for candidate in candidates}
    for step in steps.values():
        step()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times[candidates[0]]) < 3:
        for candidate, step in steps.items():  # interleaved, so that a busy moment hits all alike
            start = time.perf_counter()
            step()
            times[candidate].append(time.perf_counter() - start)
    # The minimum is the figure least disturbed by other work on the machine.
    speeds = {candidate: len(images) / min(taken) for candidate, taken in times.items()}
    best = max(candidates, key=lambda candidate: speeds[candidate])
    chosen = best if speeds[best] > 1.1 * speeds[candidates[0]] else candidates[0]
    named = {str(candidate): round(speed, 1) for candidate, speed in speeds.items()}
    known[key] = {"numerics": asdict(chosen), "images_per_second": named}
    atomic_write_json(path, known)
    return Measured(chosen, named, cached=False)


def _probe(device: torch.device) -> tuple[nn.Module, torch.Tensor]:
    """The parts that backbones are made of: a full, a depthwise and a pointwise convolution with batch-norm."""
    generator = torch.Generator().manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    for width in (32, 64, 128):
        layers += [
            nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU6(),
            nn.Conv2d(2 * width, 2 * width, 3, 2, 1, bias=False),
        ]
    network = nn.Sequential(*layers).to(device)
    return network, torch.rand(16, 3, 96, 96, generator=generator).to(device)


def _step(network: nn.Module, images: torch.Tensor, device: torch.device, numerics: Numerics) -> Callable[[], None]:
    model = numerics.place(copy.deepcopy(network), device)
    batch = images.contiguous(memory_format=numerics.memory_format)

    def step() -> None:
        with numerics.autocast(device):
            features = model(batch)
        features.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def _read(text: str) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}  # a cache that can't be read is measured again


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or f"{os.cpu_count()} cores"
