"""What the process is told that we run in. Entry points call `configure`; importing anything of ours tells it nothing.

Three defaults that have nothing to do with a model take a third of a training step on two cores (docs/log.md,
docs/decisions/0010): how GNU's allocator gives memory back, how long OpenMP's threads spin while they wait, and what
Python's garbage collector walks again and again. A user's own settings stand.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import platform
import sys
import time
from dataclasses import dataclass

SWITCH = "POMONA_CONFIGURE"
"""The variable that switches `configure` off, with the value `off`."""

SPIN = "GOMP_SPINCOUNT"
IDLE, BUSY = "10000", "1000"

# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest block that the allocator takes on itself.
_BLOCK = 32 * 2**20
_KEPT = 2**30


@dataclass(frozen=True)
class Settings:
    """What `configure` did, a sentence each. `spares` is whether `spare_the_collector` does anything."""

    allocator: str
    openmp: str
    collector: str
    spares: bool = True

    @property
    def lines(self) -> tuple[str, ...]:
        return (f"memory: {self.allocator}", f"threads: {self.openmp}", f"garbage collector: {self.collector}")


def configure() -> Settings:
    """Tells this process what makes training faster, once; says what that is, whenever it is called.

    To be called before torch is imported, as OpenMP reads its setting then. `$POMONA_CONFIGURE=off` leaves everything
    as it is.
    """
    global _settings
    if _settings is None:
        _settings = _configured()
    return _settings


# None until `configure` was called.
_settings: Settings | None = None


def _configured() -> Settings:
    if os.environ.get(SWITCH, "").lower() == "off":
        reason = f"as it was: {SWITCH} is off"
        return Settings(reason, reason, reason, spares=False)
    collector = "leaves out what is imported when training begins"
    return Settings(_keep_memory(), _set_spin(), collector)


def _keep_memory() -> str:
    """GNU's allocator hands blocks above 128 KiB back to the kernel and asks for new ones, whose pages are then zeroed
    at first touch. Tensors are such blocks, a training step makes dozens of them, and on a virtual machine that takes a
    quarter of its time. Blocks that are kept cost what a process used at its peak, up to a limit."""
    if platform.libc_ver()[0] != "glibc":
        return "as it was: the C library is not GNU's"
    theirs = [name for name in os.environ if name.startswith("MALLOC_") and name.endswith("_THRESHOLD_")]
    if theirs:
        return f"as it was: {', '.join(sorted(theirs))} is set"
    library = ctypes.CDLL(None)
    if not (library.mallopt(_MMAP_THRESHOLD, _BLOCK) and library.mallopt(_TRIM_THRESHOLD, _KEPT)):
        return "as it was: the allocator refused"
    return f"blocks up to {_BLOCK // 2**20} MiB are kept, {_KEPT // 2**30} GiB in all"


def _set_spin() -> str:
    """By default threads spin for milliseconds before they sleep. Beside other processes a thread that spins takes the
    core that the other one needs, and a forward pass can take twenty times as long; on an idle machine threads that
    sleep early cost a fifth of a training step (`python -m bench.waiting`; results/throughput/waiting.md). So they spin
    a little where the machine is idle now, and hardly at all where it is not."""
    theirs = [name for name in ("OMP_WAIT_POLICY", SPIN) if name in os.environ]
    if theirs:
        return f"as it was: {', '.join(theirs)} is set"
    if "torch" in sys.modules:
        return "as it was: torch was imported before"
    os.environ[SPIN] = spin_count()
    return f"{SPIN}={os.environ[SPIN]}, as the machine is {'idle' if os.environ[SPIN] == IDLE else 'busy'}"


def spin_count() -> str:
    """By the processes that want to run besides this one, in three looks of 5 ms."""
    cores = os.cpu_count() or 1
    try:
        for _ in range(3):
            with open("/proc/loadavg") as line:
                running = int(line.read().split()[3].partition("/")[0]) - 1
            if running >= max(cores / 2, 1):
                return BUSY
            time.sleep(0.005)
    except (OSError, ValueError, IndexError):
        return BUSY
    return IDLE


def spare_the_collector() -> None:
    """Keeps Python's garbage collector off all that is imported by now, if this process was configured: it would walk
    it at every few training steps. To be called when training begins; only the first call does something."""
    if _settings is not None and _settings.spares:
        _spare_once()


@functools.cache
def _spare_once() -> None:
    gc.collect()
    gc.freeze()
