"""How torch's threads wait for each other; to be imported before torch.

By default they spin for a millisecond or so before they sleep. On a machine that does anything else besides, a thread
that spins takes the core that the other one needs, and a forward pass can take twenty times as long. A short spin keeps
most of the speed on an idle machine and avoids that (`python -m bench.waiting`; results/throughput/waiting.md). GNU's
OpenMP, which torch's builds for Linux use, reads this; others ignore it. A user's own setting stands.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
