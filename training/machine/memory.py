"""How memory is got and given back; to be imported before torch allocates any.

GNU's allocator hands blocks above 128 KiB back to the kernel and asks for new ones, whose pages are then zeroed at
first touch. Tensors are such blocks, a training step makes dozens of them, and on a virtual machine that takes a
quarter of its time (docs/log.md). Kept blocks cost what a process used at its peak, up to a limit. A user's own
setting stands.
"""

import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest block that the allocator takes on itself.
_BLOCK = 32 * 2**20
_KEPT = 2**30
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


def keep_memory() -> bool:
    """Whether the allocator does as it is told here: it is GNU's, and the user has not decided otherwise."""
    theirs = any(name.startswith("MALLOC_") and name.endswith("_THRESHOLD_") for name in os.environ)
    if platform.libc_ver()[0] != "glibc" or theirs:
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, _BLOCK) and library.mallopt(_TRIM_THRESHOLD, _KEPT))


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


@cache
def spare_the_collector() -> None:
    """Keeps Python's garbage collector off all that is imported by now: it walked it at every few training steps."""
    gc.collect()
    gc.freeze()


keep_memory()
