"""Seeds derived from seeds."""

from __future__ import annotations

import numpy as np


def number_of(*parts: int) -> int:
    """A 64-bit seed mixed from whole numbers of at least 0."""
    low, high = np.random.SeedSequence(parts).generate_state(2)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32
