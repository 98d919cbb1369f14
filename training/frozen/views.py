"""Augmented views of an image: a bank of a few that take turns, or a new one in every epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from ..data.augment import RANDOM_NUMBERS
from ..machine.seeds import bank_of
from ..models.spec import Structure

# What a bank's numbers are made from; to be raised when the views that come out change.
_BANK = 1
# More views than any bank has: those of the next bank are numbered from here on.
_MOST_VIEWS = 2**16


def view_at(structure: Structure, epoch: int, seed: int) -> int | None:
    """Which view is seen in epoch `epoch` of 1, 2, ... of a run of `seed`; None where every epoch sees a new one.

    Seeds share a bank of views, so that studies find what others kept; those that confirm have banks of their own.
    """
    return bank_of(seed) * _MOST_VIEWS + (epoch - 1) % structure.views if structure.views else None


def view_random_numbers(keys: Sequence[str], view: int) -> torch.Tensor:
    """Uniform numbers (n, DRAWS) in 0..1 for `augment`: a function of each image's key and of `view` alone.

    They do not depend on the other images or on the split, so that every trial that wants a view wants the same one.
    All strengths share them: a stronger view is the same change, further.
    """
    digests = b"".join(
        hashlib.blake2b(f"{_BANK} {view} {key}".encode(), digest_size=4 * RANDOM_NUMBERS).digest() for key in keys
    )
    numbers = np.frombuffer(digests, dtype="<u4").reshape(len(keys), RANDOM_NUMBERS) >> 8
    return torch.from_numpy(numbers.astype(np.float32) / np.float32(2**24))
