"""Which device computes, and what it is called."""

from __future__ import annotations

import os
import platform
import re
from functools import lru_cache

import torch

from search_spaces import InputError


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one; `cuda:1` is one of several, counted from 0 as torch does.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device(name)
    if (match := re.fullmatch(r"cuda(?::(\d{1,4}))?", name, re.ASCII)) is None:
        raise InputError(f"unknown device {name!r}: auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise InputError("no CUDA device here", "use --device cpu", "install a torch build with CUDA")
    if match[1] is not None and int(match[1]) >= (count := torch.cuda.device_count()):
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise InputError(f"no device {name!r} here: there is {there}")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    units = bf16_instructions()
    return f"{_processor()}{f' with {units}' if units else ''}, {torch.get_num_threads()} threads"


def is_processor(described: str) -> bool:
    """Whether what `describe_device` said was of a CPU."""
    return described.endswith(" threads")


def bf16_instructions() -> str | None:
    """What the processor multiplies bf16 with; empty where it only emulates that, None where torch can't tell.

    Virtual machines of one model name have them or not.
    """
    known = {"AMX": "_is_amx_tile_supported", "AVX-512 bf16": "_is_avx512_bf16_supported"}
    if platform.machine().lower() not in ("x86_64", "amd64") or not all(hasattr(torch.cpu, f) for f in known.values()):
        return None
    return next((name for name, function in known.items() if getattr(torch.cpu, function)()), "")


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
