"""Intervals that stand beside every accuracy."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Proportion:
    """A share of n witnesses with its 95 % Wilson interval; `value` and the bounds lie in 0..1."""

    value: float
    n: int
    low: float
    high: float

    @property
    def ci95(self) -> tuple[float, float]:
        return self.low, self.high


def wilson(value: float, n: int, z: float = Z95) -> Proportion:
    """The Wilson score interval of a share `value` seen in `n` independent witnesses.

    Source: E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209-212. With n = 0 nothing is known: [0, 1].

    Raises:
        ValueError: `value` is not a share or `n` is negative.
    """
    if n < 0 or not 0.0 <= value <= 1.0:
        raise ValueError(f"not a share of a count: {value} of {n}")
    if n == 0:
        return Proportion(value, 0, 0.0, 1.0)
    weight = z * z / n
    centre = (value + weight / 2) / (1 + weight)
    half = z * math.sqrt(value * (1 - value) / n + weight / (4 * n)) / (1 + weight)
    return Proportion(value, n, max(0.0, min(centre - half, value)), min(1.0, max(centre + half, value)))


def accuracy(correct: Sequence[bool]) -> Proportion:
    """The share of right answers, each example a witness of its own."""
    n = len(correct)
    return wilson(sum(map(bool, correct)) / n if n else 0.0, n)


def grouped_accuracy(correct: Sequence[bool], groups: Sequence[str]) -> Proportion:
    """The mean of the groups' accuracies with the groups as witnesses: a series of one object counts once.

    The interval is Wilson's with the number of groups as n, which is exact where every group is all right or all
    wrong, and wider than need be in between.
    """
    if len(correct) != len(groups):
        raise ValueError(f"{len(correct)} answers but {len(groups)} groups")
    by_group: dict[str, list[bool]] = defaultdict(list)
    for is_right, group in zip(correct, groups, strict=True):
        by_group[group].append(bool(is_right))
    shares = [sum(answers) / len(answers) for answers in by_group.values()]
    # math.fsum: groups of thirds must not sum to a hair above their number.
    return wilson(min(1.0, math.fsum(shares) / len(shares)) if shares else 0.0, len(shares))
