"""How torch's threads wait for each other; to be imported before torch.

By default they spin for milliseconds before they sleep. Beside other processes a thread that spins takes the core that
the other one needs, and a forward pass can take twenty times as long; on an idle machine threads that sleep early cost
a fifth of a training step. So they spin a little where the machine is idle when this is imported, and hardly at all
where it is not (`python -m bench.waiting`; results/throughput/waiting.md). GNU's OpenMP, which torch's builds for
Linux use, reads this once; others ignore it. A user's own setting stands.
"""

import os
import time

IDLE, BUSY = "10000", "1000"


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


if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
    os.environ["GOMP_SPINCOUNT"] = spin_count()
