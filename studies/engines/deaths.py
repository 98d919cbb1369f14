"""What a worker died of, as far as the system says, and whether what it trained can be blamed for it."""

from __future__ import annotations

import signal

from .engine import Lost


def death_by(code: int, out_of_memory_kills: int | None) -> Lost:
    """How a process ended, by its exit code as `subprocess` gives it.

    `out_of_memory_kills` is how many processes the kernel killed for want of memory while it worked, anywhere on the
    machine; None where that is not known. It kills with the signal that people and clusters kill with, so that only a
    process that died of it while the kernel killed none was certainly killed from outside.
    """
    if code >= 0:
        return Lost(f"exit code {code}")
    try:
        reason = f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return Lost(f"killed by signal {-code}")
    if -code == signal.SIGKILL:
        if out_of_memory_kills:
            return Lost(f"{reason}, as the machine ran out of memory")
        return Lost(reason, from_outside=out_of_memory_kills is not None)
    return Lost(reason, from_outside=-code == signal.SIGTERM)
