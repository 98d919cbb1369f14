"""Which numbers 32-bit floats hold well enough to be learned from, and how columns are standardised.

A column of Unix seconds has ten digits, of which a 32-bit float holds seven: minutes become one value. Such columns are
standardised as 64-bit floats, and only what comes out is rounded. Others are standardised as 32-bit floats, which gives
the same to rounding, and their models take 32-bit numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]

# Of what a column varies by. What is less is lost in the rounding of any training.
_NEGLIGIBLE = 2.0**-14
# As many spacings of 64-bit floats may lie between numbers that are equal but for the way they were computed.
_ROUNDING = 4
# A target's middle over what it varies by: with more, 32-bit answers would be coarser than 1/2000 of that.
_LARGE_OFFSET = 2.0**13


def compact(values: NDArray[np.float64]) -> Floats:
    """`values` as 32-bit floats where nothing is lost by that."""
    short = values.astype(np.float32)
    return short if np.array_equal(short.astype(np.float64), values) else values


def constant_columns(rows: Floats) -> NDArray[np.bool_]:
    """Of each column (n, f), whether its values are equal but for the rounding of 64-bit floats."""
    exact = rows.astype(np.float64)
    spread = exact.max(axis=0) - exact.min(axis=0)
    return np.asarray(spread <= _ROUNDING * np.spacing(np.abs(exact).max(axis=0)), np.bool_)


def standardisation(train: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each column (n, f); a constant column is divided by 1."""
    rows = train.astype(np.float64)
    mean, deviation, constant = rows.mean(axis=0), rows.std(axis=0), constant_columns(rows)
    mean[constant], deviation[constant] = rows[0][constant], 1
    return mean, deviation


def short_floats_suffice(features: Floats) -> bool:
    """Whether the columns (n, f), rounded to 32 bits and standardised as such, are what they are with 64 bits."""
    exact, short = features.astype(np.float64), features.astype(np.float32)
    rounding = np.abs(short.astype(np.float64) - exact)
    middle = np.median(exact, axis=0)
    away = np.abs(exact - middle)
    if ((rounding > _NEGLIGIBLE * np.maximum(away, _scale(exact))) & ~constant_columns(exact)).any():
        return False
    mean, deviation = standardisation(exact)
    short_mean, short_deviation = (part.astype(np.float32) for part in standardisation(short))
    with np.errstate(all="ignore"):
        expected, found = (exact - mean) / deviation, (short - short_mean) / short_deviation
        return bool((np.abs(found - expected) <= 4 * _NEGLIGIBLE * np.maximum(np.abs(expected), 1)).all())


def offset_of(targets: Floats, train: NDArray[np.int64]) -> float:
    """What is to be taken off targets (n,) before they are learned in 32 bits: the middle of the `train` rows where it
    is large beside what they vary by, else nothing."""
    exact = targets.astype(np.float64)
    if abs(float(np.median(exact))) <= _LARGE_OFFSET * float(_scale(exact[:, None])[0]):
        return 0.0
    return float(np.median(exact[train]))


def _scale(columns: NDArray[np.float64]) -> NDArray[Any]:
    """What each column (n, f) varies by: the median distance from the median, which single values do not change; of a
    column that is mostly one value the standard deviation."""
    away = np.median(np.abs(columns - np.median(columns, axis=0)), axis=0)
    return np.where(away > 0, away, columns.std(axis=0))
