"""What a figure depends on beside the code: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .device import describe_device

_DISTRIBUTIONS = ("pomona", "torch", "torchvision", "timm", "optuna", "ray", "numpy", "pillow")


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, commit and machine, as every table carries them. No host name and no path."""
    return {
        "python": platform.python_version(),
        "versions": versions(),
        "commit": commit(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
    }


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; empty outside a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(folder)]
        head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
