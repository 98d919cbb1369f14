"""How torch's threads wait for each other; to be imported before torch.

By default they spin. On a machine that does anything else besides, a thread that spins takes the core that the other
one needs: with a second process at work on 2 cores, the forward pass of a small network was 20 times slower than with
threads that sleep (docs/log.md). A user's own setting stands.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
