"""Seeds derived from seeds."""

from __future__ import annotations

import numpy as np

SEEDS_OF_A_BANK = 2**32
"""So many seeds share the augmented views of their images: 0 to 2**32 - 1 one bank of them, the next the next one."""


# Odd, so that it comes to the same seed only after all others of the bank; large, as people count seeds from 0.
_BETWEEN_RELATED = 65_537


def fresh_seed(seed: int, number: int) -> int:
    """The `number`-th (1, 2, ...) of the seeds on which what was found with `seed` is tried again.

    Each is of another bank than all others: not only order, weights and dropout are new, but the augmented views too.
    """
    return seed + number * SEEDS_OF_A_BANK


def related_seed(seed: int, number: int) -> int:
    """As `fresh_seed`, of the same bank: order, weights and dropout are new, the views are those that are kept."""
    bank = bank_of(seed) * SEEDS_OF_A_BANK
    return bank + (seed - bank + number * _BETWEEN_RELATED) % SEEDS_OF_A_BANK


def bank_of(seed: int) -> int:
    """The number of the bank of views that a seed sees."""
    return seed // SEEDS_OF_A_BANK


def number_of(*parts: int) -> int:
    """A 64-bit seed mixed from whole numbers of at least 0."""
    low, high = np.random.SeedSequence(parts).generate_state(2)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32
