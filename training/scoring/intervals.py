"""Intervals that stand beside every value."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """The value of a metric on n independent samples, with its 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    @property
    def ci95(self) -> tuple[float, float]:
        return self.low, self.high


def wilson(value: float, n: int, z: float = Z95) -> Estimate:
    """The Wilson score interval of a share `value` seen in `n` independent samples.

    Source: E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209-212. With n = 0 nothing is known: [0, 1].

    Raises:
        ValueError: `value` is not a share or `n` is negative.
    """
    if n < 0 or not 0.0 <= value <= 1.0:
        raise ValueError(f"not a share of a count: {value} of {n}")
    if n == 0:
        return Estimate(value, 0, 0.0, 1.0)
    weight = z * z / n
    centre = (value + weight / 2) / (1 + weight)
    half = z * math.sqrt(value * (1 - value) / n + weight / (4 * n)) / (1 + weight)
    return Estimate(value, n, max(0.0, min(centre - half, value)), min(1.0, max(centre + half, value)))


def accuracy(correct: Sequence[bool]) -> Estimate:
    """The share of right answers, each example an independent sample of its own."""
    n = len(correct)
    return wilson(sum(map(bool, correct)) / n if n else 0.0, n)


def grouped_accuracy(correct: Sequence[bool], groups: Sequence[str]) -> Estimate:
    """The mean of the groups' accuracies with the groups as independent samples: a series of one object counts once.

    The interval is Wilson's with the number of groups as n, which is exact where every group is all right or all
    wrong, and wider than need be in between.
    """
    if len(correct) != len(groups):
        raise ValueError(f"{len(correct)} answers but {len(groups)} groups")
    by_group: dict[str, list[bool]] = defaultdict(list)
    for is_right, group in zip(correct, groups, strict=True):
        by_group[group].append(bool(is_right))
    shares = [sum(predictions) / len(predictions) for predictions in by_group.values()]
    # math.fsum: groups of thirds must not sum to a hair above their number.
    return wilson(min(1.0, math.fsum(shares) / len(shares)) if shares else 0.0, len(shares))


_OF_OTHERS = 4
"""How many further values what other configs say of a spread is worth."""


def over_seeds(
    values: Sequence[Sequence[float]],
    limits: tuple[float, float] = (-math.inf, math.inf),
    steps: Sequence[float] | None = None,
) -> list[Estimate | None]:
    """The means of the values that seeds gave, a list a config, with t intervals over the seeds; None for one seed.

    They tell how far other seeds might differ on the same examples, not what other examples would give. An interval
    that would pass the `limits` of the metric ends there.

    Three values say little about a spread, and of many configs one with three equal values by chance would have the
    best lower bound. So each variance is drawn towards that of all configs, as if this were known from `_OF_OTHERS`
    further values; a config that is wild stays wilder than others. One config alone has Student's interval.

    `steps` are what the values of each config are multiples of, as an accuracy on n examples is of 1 / n. Two seeds
    with as many right answers do not say that no seed differs: a variance is at least that of rounding, step² / 12.

    Source: Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression, Statistical
    Applications in Genetics and Molecular Biology 3; here with a fixed number of prior degrees of freedom.
    """
    steps = [0.0] * len(values) if steps is None else steps
    freedoms = [len(each) - 1 for each in values]
    means = [math.fsum(each) / len(each) for each in values]
    squares = [math.fsum((value - mean) ** 2 for value in each) for each, mean in zip(values, means, strict=True)]
    known = sum(freedom for freedom in freedoms if freedom > 0)
    common = math.fsum(squares) / known if known else 0.0
    low, high = limits
    found: list[Estimate | None] = []
    for each, mean, square, freedom, step in zip(values, means, squares, freedoms, steps, strict=True):
        if freedom < 1:
            found.append(None)
            continue
        # A quarter of a second to import, which a study without confirmed trials does not take.
        from scipy.special import stdtrit  # type: ignore[import-untyped]

        # No more is known of the others than their values say.
        borrowed = min(_OF_OTHERS, known - freedom)
        variance = max((square + borrowed * common) / (freedom + borrowed), step**2 / 12)
        half = float(stdtrit(freedom + borrowed, 0.975)) * math.sqrt(variance / len(each))
        found.append(Estimate(mean, len(each), min(max(low, mean - half), mean), max(min(high, mean + half), mean)))
    return found


def resampled(value: float, n: int, draws: NDArray[np.float64]) -> Estimate:
    """The percentile interval of `draws`, values of a metric on resamples of the n independent samples.

    Source: B. Efron (1979), Bootstrap methods: another look at the jackknife, Ann. Stat. 7, 1-26.
    """
    finite = draws[np.isfinite(draws)]
    if not (len(finite) and math.isfinite(value)):
        return Estimate(value, n, -math.inf, math.inf)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value, n, min(float(low), value), max(float(high), value))
