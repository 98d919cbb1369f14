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
# What the kernel counts since it started, a name and a number a line (proc(5)).
_KERNEL_COUNTS = Path("/proc/vmstat")


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


def out_of_memory_kills() -> int | None:
    """How many processes the kernel has killed so far because memory ran out, here or in any container of the machine.

    None where it does not say: kernels before 4.13, and systems that are not Linux.
    """
    try:
        counts = dict(line.split() for line in _KERNEL_COUNTS.read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(counts["oom_kill"]) if "oom_kill" in counts else None


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
