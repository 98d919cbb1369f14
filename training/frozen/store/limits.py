"""How much the store may keep."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from search_spaces import InputError

from ...machine.memory import machine_memory
from .blocks import usage

DISK, MEMORY = "POMONA_PREFIX_DISK", "POMONA_PREFIX_MEMORY"

_GIB = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": _GIB, "T": 2**40}


def disk_limit(folder: Path) -> int:
    """Bytes on disk for all blocks in `folder`: $POMONA_PREFIX_DISK, else 20 GiB, or a tenth of the disk's free space
    where that is less. What the blocks take already counts as free, so that the limit does not sink as they come.

    Raises:
        InputError: the variable is no size.
    """
    if (payload := os.environ.get(DISK)) is not None:
        return bytes_of(payload, DISK)
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if os.path.exists(parent))
    free = shutil.disk_usage(there).free + sum(block.bytes for block in usage(folder))
    return min(20 * _GIB, free // 10)


def memory_limit() -> int:
    """Bytes in memory for one store, so for one worker: $POMONA_PREFIX_MEMORY, else a quarter of the machine's memory,
    or of the container's.

    Raises:
        InputError: the variable is no size.
    """
    payload = os.environ.get(MEMORY)
    return machine_memory() // 4 if payload is None else bytes_of(payload, MEMORY)


def bytes_of(text: str, name: str) -> int:
    """`8G`, `500M`, `1.5 GiB` or plain bytes; units are powers of 1024.

    Raises:
        InputError: it is none of them; `name` is what the user calls it.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise InputError(f"{name} is a size such as 8G, 500M or a number of bytes, not {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])
