"""How fast the stages of a backbone are on this machine: measured once, in under a second, and kept with the cache."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from ..frozen.sizes import rows_at_once
from ..machine.cache import cache_folder
from ..machine.decode import DecodeError, decoded
from ..machine.device import describe_device
from ..machine.digest import is_whole, note, sealed
from ..machine.files import WriteError, atomic_write_json
from ..machine.precision import Numerics
from ..machine.side_by_side import side_by_side
from ..models.backbones import Backbone
from ..models.kernels import REVISION
from ..models.lowering import lower

_ROUNDS = 2
# Training takes six times as long; so few examples on a CPU, and rounds, say the same to a tenth.
_TRAINED = 16
_TRAINED_ROUNDS = 2
# What training a stage takes, against computing its outputs: the gradients of inputs and of weights are two products of
# the size of the forward one. A GPU is not timed: it gets ready for each stage and size of batches for longer than a
# run may train.
_FORWARDS = 3
# How far a run moves a correction that others made before: a busy moment is not a property of the machine.
_WEIGHT = 0.4
_MOST = math.log(20)
_SPEEDS = "speeds"


@dataclass(frozen=True)
class Speeds:
    """Seconds an example of each stage, measured with images of `resolution` pixels a side (0 where there are none).

    Attributes:
        forward: through the frozen stage.
        train: forward, backward and update of the stage.
        row_bytes: of each stage's output; the last are pooled features in fp32.
        factors: what the work of runs took against what was predicted, by kind of work.
    """

    resolution: int
    forward: tuple[float, ...]
    train: tuple[float, ...]
    row_bytes: tuple[int, ...]
    factors: dict[str, float] = field(default_factory=dict)

    def at(self, resolution: int) -> Speeds:
        """The same for another resolution: time and bytes follow the area."""
        if not self.resolution or not resolution or resolution == self.resolution:
            return self
        area = (resolution / self.resolution) ** 2
        # What a stage costs besides its pixels: small images don't get cheaper without end.
        share = 0.9 * area + 0.1
        return replace(
            self,
            resolution=resolution,
            forward=tuple(seconds * share for seconds in self.forward),
            train=tuple(seconds * share for seconds in self.train),
            row_bytes=(*(round(size * area) for size in self.row_bytes[:-1]), self.row_bytes[-1]),
        )

    def factor(self, kind: str) -> float:
        """What work of a kind takes against what is predicted of it.

        A kind may end with a number, as `stages 3` does. Where nothing is known of that number, the nearest one that
        something is known of says half of it: large activations don't fit into caches, so what holds for the last
        stage does not for the first ones.
        """
        if kind in self.factors:
            return self.factors[kind]
        name, _, number = kind.partition(" ")
        others = {key.partition(" ")[2]: value for key, value in self.factors.items() if key.startswith(f"{name} ")}
        if not number or not others:
            return 1.0
        return math.sqrt(others[min(others, key=lambda other: (abs(int(other) - int(number)), other))])

    def corrected(self, kind: str, predicted: float, seconds: float) -> Speeds:
        """With what a run took, where `predicted` is with the factor: the first of its kind sets the factor, later ones
        move it, on a logarithmic scale."""
        if predicted <= 0 or seconds <= 0:
            return self
        before = math.log(self.factor(kind))
        weight = _WEIGHT if kind in self.factors else 1.0
        after = max(-_MOST, min(_MOST, before + weight * math.log(seconds / predicted)))
        return replace(self, factors=self.factors | {kind: math.exp(after)})


def measure_speeds(backbone: Backbone, example: torch.Tensor, numerics: Numerics, device: torch.device) -> Speeds:
    """Times every stage, frozen and on a CPU also trained, on copies of one example.

    Args:
        example: (1, ...) as the first stage takes it; images (1, C, R, R).
    """
    count = len(backbone.stages)
    side = example.shape[-1] if example.ndim == 4 else 0
    rows = rows_at_once(example.numel(), device)
    inputs = example.to(device).expand((rows, *example.shape[1:])).contiguous()
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=numerics.memory_format)
    frozen = lower(backbone, count, numerics, device).frozen
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    # As outputs are computed: all threads at once, each by itself.
    rounds = [*side_by_side(lambda _: _timed([*frozen], inputs, numerics, device), range(threads), device)]
    forward = [
        statistics.fmean(taken) / (rows * threads) for taken in zip(*(each.seconds for each in rounds), strict=True)
    ]
    train = [_FORWARDS * seconds for seconds in forward]
    if device.type == "cpu":
        few = [each[:_TRAINED] for each in (inputs, *rounds[0].outputs[:-1])]
        trained = lower(backbone, 0, numerics, device).trained
        with torch.random.fork_rng([]):
            train = [
                _trained(stage, taken, numerics, device) / len(taken) for stage, taken in zip(trained, few, strict=True)
            ]
    row_bytes = [each[:1].nbytes for each in rounds[0].outputs]
    row_bytes[-1] = backbone.widths[-1] * torch.float32.itemsize
    return Speeds(side, tuple(forward), tuple(train), tuple(row_bytes))


@dataclass(frozen=True)
class _Timed:
    """The least seconds of each stage, and its outputs."""

    seconds: tuple[float, ...]
    outputs: tuple[torch.Tensor, ...]


@torch.no_grad()
def _timed(stages: Sequence[torch.nn.Module], inputs: torch.Tensor, numerics: Numerics, device: torch.device) -> _Timed:
    best = [math.inf] * len(stages)
    for _ in range(_ROUNDS):
        outputs, activations = [], inputs
        for number, stage in enumerate(stages):
            start = time.perf_counter()
            with numerics.autocast(device):
                activations = stage(activations)
            _wait(device)
            best[number] = min(best[number], time.perf_counter() - start)
            outputs.append(activations)
    return _Timed(tuple(best), tuple(outputs))


def _trained(stage: torch.nn.Module, activations: torch.Tensor, numerics: Numerics, device: torch.device) -> float:
    floating = activations.is_floating_point()
    stage.train()
    best = math.inf
    for _ in range(_TRAINED_ROUNDS):
        inputs = activations.detach().requires_grad_(floating)
        start = time.perf_counter()
        with numerics.autocast(device):
            loss = stage(inputs).float().square().mean()
        if loss.requires_grad:
            loss.backward()
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class SpeedFile:
    """What is known of backbones on a device, in the cache; measured there or not at all.

    A cache that can't be read or written costs a second a backbone, and no more.
    """

    def __init__(self, device: torch.device, numerics: Numerics) -> None:
        self._path = cache_folder("speeds.json")
        self._prefix = f"{describe_device(device)}; {numerics}; torch {torch.__version__}; kernels {REVISION}; "
        self._known: dict[str, Speeds] = self._read()

    def get(self, backbone: str) -> Speeds | None:
        return self._known.get(self._prefix + backbone)

    def put(self, backbone: str, speeds: Speeds) -> None:
        self._known[self._prefix + backbone] = speeds

    def save(self) -> None:
        """Writes what is known, with what other processes found meanwhile."""
        self._known = self._read() | {key: known for key, known in self._known.items() if key.startswith(self._prefix)}
        # That the cache can't be written is said where it is first needed.
        with contextlib.suppress(WriteError):
            atomic_write_json(
                self._path, sealed({_SPEEDS: {name: asdict(speeds) for name, speeds in self._known.items()}})
            )

    def _read(self) -> dict[str, Speeds]:
        try:
            payload = json.loads(self._path.read_bytes())
            if not is_whole(payload):
                raise DecodeError("its digest is not that of its contents")
            return decoded(payload.get(_SPEEDS), dict[str, Speeds])
        except OSError:
            return {}
        except (ValueError, AttributeError) as problem:
            note(f"{self._path} is damaged ({problem}): what it held is measured again")
            return {}
