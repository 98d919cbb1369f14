"""What of some examples can be shown to people, as plain values; whoever shows them decides how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pictures:
    """Floats (n, channels, side, side) in 0..1, as they are stored; `keys` decide how each is augmented."""

    images: Tensor
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Lines:
    """Lines of text, in columns with headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Rows of numbers: `features` (n, f), and a `target` (n,) each, a number or the place of a class.

    `names` are those of the features and, last, the target's. `targets` are those of the whole split. `left_out` counts
    the features that are not among them.
    """

    names: tuple[str, ...]
    features: NDArray[np.float32 | np.float64]
    target: NDArray[np.float64]
    targets: NDArray[np.float64]
    left_out: int = 0


Preview = Pictures | Lines | Numbers
