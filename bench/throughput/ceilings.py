"""What the machine can do at most: its rate of matrix products, and how fast it copies memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .clock import timed, warmed_up

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_TAKES, _SECONDS = 5, 0.2
_QUICK_SECONDS = 0.02
_SIDES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192, 16384)}
_QUICK_SIDES = (256,)
_ROWS = 16
# Bytes of what is copied: far more than the caches hold.
_BUFFER = {"cpu": 2**29, "cuda": 2**31}
_QUICK_BUFFER = 2**25


@dataclass(frozen=True)
class Ceilings:
    """FLOP/s of square matrix products by precision, the best of some sizes, and bytes/s read and written in a copy."""

    matmul: dict[str, float]
    copy: float


def measure_ceilings(precisions: Sequence[str], device: torch.device, *, quick: bool) -> Ceilings:
    """The best of some takes each: what disturbs a measurement only slows it."""
    seconds = _QUICK_SECONDS if quick else _SECONDS
    sides = _QUICK_SIDES if quick else _SIDES[device.type]
    matmul = {
        precision: max(_matmul_rate(side, DTYPES[precision], seconds, device) for side in sides)
        for precision in precisions
    }
    return Ceilings(matmul, _copy_rate(_QUICK_BUFFER if quick else _BUFFER[device.type], seconds, device))


def _matmul_rate(side: int, dtype: torch.dtype, seconds: float, device: torch.device) -> float:
    """As a product and as a 1 x 1 convolution: on a CPU they are different libraries, and either may be the faster."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    images = a.T.reshape(1, side, _ROWS, -1).contiguous(memory_format=torch.channels_last)
    weight = b.view(side, side, 1, 1).contiguous(memory_format=torch.channels_last)

    def multiply() -> None:
        torch.mm(a, b, out=out)

    def convolve() -> None:
        F.conv2d(images, weight)

    fastest = float("inf")
    with _tensor_cores(device), torch.inference_mode():
        for step in (multiply, convolve):
            count, _ = warmed_up(step, seconds, device)
            fastest = min(fastest, *(timed(step, count, device) / count for _ in range(_TAKES)))
    return 2 * side**3 / fastest


@contextlib.contextmanager
def _tensor_cores(device: torch.device) -> Iterator[None]:
    """fp32 products in TF32 on a GPU, since that is what torch's convolutions do there."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _copy_rate(size: int, seconds: float, device: torch.device) -> float:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def step() -> None:
        target.copy_(source)

    count, _ = warmed_up(step, seconds, device)
    return 2 * size * count / min(timed(step, count, device) for _ in range(_TAKES))
