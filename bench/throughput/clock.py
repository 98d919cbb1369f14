"""Timing that waits for the device, and counts of steps that fill a given time."""

from __future__ import annotations

import time

import torch

from .core import Step

# Enough for a step to be captured where it is to be.
_WARM_UP = 8


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(step: Step, count: int, device: torch.device) -> float:
    """Seconds that `count` steps take, from an idle device to an idle device."""
    synchronise(device)
    started = time.perf_counter()
    for _ in range(count):
        step()
    synchronise(device)
    return time.perf_counter() - started


def warmed_up(step: Step, seconds: float, device: torch.device) -> tuple[int, float]:
    """Runs some steps that count for nothing; how many of them fill `seconds`, and the seconds that one takes."""
    timed(step, _WARM_UP, device)
    count = 1
    while (taken := timed(step, count, device)) < seconds / 4:
        count *= 2
    return max(1, round(count * seconds / taken)), taken / count
