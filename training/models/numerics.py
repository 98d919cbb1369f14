"""In which precision and memory layout a device trains fastest: measured, not assumed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..machine.cache import cache_folder, without_cache
from ..machine.decode import DecodeError, decoded
from ..machine.device import bf16_instructions, describe_device
from ..machine.digest import DIGEST, is_whole, note, sealed
from ..machine.files import WriteError, atomic_write_json
from ..machine.precision import PRECISIONS
from ..machine.precision import Numerics as Numerics
from .backbones import Backbone, build
from .lowering import lower

# Images at once, and their side in pixels. A GPU waits for its next kernel where there is little to do in each, and
# then every candidate looks alike: on an H100 a batch of 16 made the contiguous layout the faster one, in which batches
# of 256 train at 0.37 of the rate that they have in channels_last.
_IMAGES = {"cpu": 8, "cuda": 256}
_SIDE = {"cpu": 128, "cuda": 224}
# On a GPU, seconds would go into compiling what a MobileNet's depthwise convolutions need.
_BACKBONE = {"cpu": "mobilenet_v2", "cuda": "resnet18"}
_TRAINED_STAGES = 3
_HOPELESS = 2.0
_CHOICES = "choices"


@dataclass(frozen=True)
class Measured:
    """The choice for a device, and the speed of every candidate in images per second."""

    numerics: Numerics
    images_per_second: dict[str, float]
    cached: bool


@dataclass(frozen=True)
class _Choice:
    """What the cache keeps for a device."""

    numerics: Numerics
    images_per_second: dict[str, float]


def measure_numerics(device: torch.device, seconds: float = 0.3) -> Measured:
    """Times training steps in each precision and layout, and keeps the answer.

    The step is what a search spends its time on: a small backbone with all but the last stages frozen. A candidate must
    beat plain fp32 by a tenth to be chosen, so that noise does not decide. The answer is cached by device and torch
    version: one machine keeps one choice, and with it one result for a seed. Where it can't be, that is said.
    """
    path, key = _file(), _key(device)
    known = _read(path)
    if (measured := _measured_in(known.get(key))) is not None:
        return measured
    precisions = [name for name in PRECISIONS if name != "bf16" or not emulates_bf16(device)]
    candidates = [Numerics(precision, layout) for precision in precisions for layout in (False, True)]
    steps = _steps(candidates, device)
    # Processor time, on a CPU: other work on the machine does not count as ours.
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[Numerics, list[float]] = {candidate: [] for candidate in candidates}
    for candidate in candidates:
        step = steps[candidate]
        step()
        times[candidate].append(_seconds(step, clock))
    # What takes several times as long after its first step is not going to be the fastest.
    quickest = min(map(_quickest, times.values()))
    steps = {c: step for c, step in steps.items() if _quickest(times[c]) < _HOPELESS * quickest or c == candidates[0]}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times[candidates[0]]) < 3:
        for candidate, step in steps.items():  # interleaved, so that a busy moment hits all alike
            times[candidate].append(_seconds(step, clock))
    threads = 1 if device.type == "cuda" else torch.get_num_threads()
    speeds = {candidate: _IMAGES[device.type] * threads / _quickest(taken) for candidate, taken in times.items()}
    best = max(candidates, key=lambda candidate: speeds[candidate])
    chosen = best if speeds[best] > 1.1 * speeds[candidates[0]] else candidates[0]
    named = {str(candidate): round(speed, 1) for candidate, speed in speeds.items()}
    known[key] = _Choice(chosen, named)
    try:
        atomic_write_json(path, sealed({_CHOICES: {name: asdict(choice) for name, choice in known.items()}}))
    except WriteError as problem:
        without_cache(problem)
    return Measured(chosen, named, cached=False)


def _quickest(taken: Sequence[float]) -> float:
    """The least of some times; processor time may stand still for a step on a busy machine, which says nothing."""
    return min((seconds for seconds in taken if seconds > 0), default=math.inf)


def emulates_bf16(device: torch.device) -> bool:
    """Whether a processor has no instructions for bf16: then it is slower than fp32, and slow to measure."""
    return device.type == "cpu" and bf16_instructions() == ""


def _seconds(step: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    step()
    return clock() - start


def known_numerics(device: torch.device) -> Measured | None:
    """What was measured for a device earlier, as it is kept in the cache; None where nothing is, or it is damaged."""
    return _measured_in(_read(_file()).get(_key(device)))


def _file() -> Path:
    return cache_folder("numerics.json")


def _key(device: torch.device) -> str:
    return f"{describe_device(device)}; torch {torch.__version__}"


def _steps(candidates: Sequence[Numerics], device: torch.device) -> dict[Numerics, Callable[[], None]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build(_BACKBONE[device.type])
        side = _SIDE[device.type]
        images = torch.rand(_IMAGES[device.type], 3, side, side).to(device)
    return {candidate: _step(backbone, images, device, candidate) for candidate in candidates}


def _step(backbone: Backbone, images: torch.Tensor, device: torch.device, numerics: Numerics) -> Callable[[], None]:
    lowered = lower(backbone, len(backbone.stages) - _TRAINED_STAGES, numerics, device)
    frozen, trained = lowered.frozen, lowered.trained
    batch = images.contiguous(memory_format=numerics.memory_format)

    def step() -> None:
        with numerics.autocast(device):
            features = batch
            with torch.no_grad():
                for stage in frozen:
                    features = stage(features)
            for stage in trained:
                features = stage(features)
        features.float().square().mean().backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def _read(path: Path) -> dict[str, _Choice]:
    """The choices by device, as far as they can be read; none where there is no file."""
    try:
        payload = json.loads(path.read_bytes())
        # Before there were digests, the choices themselves were the file.
        if isinstance(payload, dict) and (DIGEST in payload or _CHOICES in payload):
            if not is_whole(payload):
                raise DecodeError("its digest is not that of its contents")
            payload = payload.get(_CHOICES)
        return decoded(payload, dict[str, _Choice])
    except OSError:
        return {}
    except ValueError as problem:
        note(f"{path} is damaged ({problem}): what it held is measured again")
        return {}


def _measured_in(choice: _Choice | None) -> Measured | None:
    # Of a later version, perhaps.
    if choice is None or choice.numerics.precision not in PRECISIONS:
        return None
    return Measured(choice.numerics, choice.images_per_second, cached=True)
