"""How much memory there is, and Python's collector where it is in the way."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# Where a container's share of the memory is written, in either version of control groups.
_SHARES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def machine_memory() -> int:
    """Bytes of memory that this machine has, or its container."""
    # Where the system does not tell, what a small laptop has.
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 * 2**30]
    for share in _SHARES:
        try:
            sizes.append(int(share.read_text()))
        except (OSError, ValueError):
            continue  # no such file, or the word "max"
    return min(sizes)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keeps Python's garbage collector away while many objects are made at once that all stay: it would walk them all
    again and again and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
