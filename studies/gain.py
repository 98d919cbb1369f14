"""What a structure that was not tried may gain over the best one: a Gaussian process over structures.

Expected improvement a second (Snoek et al. 2012, arXiv 1206.2944) decides what is trained next, and draws of several
structures together what many cheap ones come to. A structure is few
discrete values, so the kernel is written down: each dimension has its own say, ordered ones mostly a linear one, and
what is left is the structure's own. Values enter as the logarithm of the error: going from 4 % to 2 % is worth as much
as from 20 % to 10 %. That an accuracy on some hundred examples is uncertain enters as noise, so a lucky trial does not
pass for progress.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.metrics import limits_of

Array = NDArray[np.float64]

# Standard deviations, in the logarithm of the error, of what is not known before anything was tried: the level, the
# name of a category, an ordered dimension from its low to its high end and its bends, two of them together, and what
# is one structure's own.
_LEVEL, _CATEGORY, _SLOPE, _BEND, _TOGETHER, _OWN = 1.5, 0.35, 0.35, 0.12, 0.2, 0.12
_BEND_LENGTH = 0.4


@dataclass(frozen=True)
class Point:
    """A structure as numbers: `categories` by name, and `positions` 0 to 1 of ordered dimensions.

    `prior` is what is expected of it before anything was tried, in the logarithm of the error.
    """

    categories: tuple[object, ...]
    positions: tuple[float, ...]
    prior: float


@dataclass(frozen=True)
class Observation:
    """The logarithm of a structure's error, and the variance of its noise."""

    point: Point
    value: float
    noise: float


class Surface:
    """What the observations say about any structure."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self._points = [each.point for each in observations]
        covariance = _kernel(self._points, self._points) + np.diag([each.noise + 1e-6 for each in observations])
        self._factor: Array = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        residual = np.array([each.value - each.point.prior for each in observations])
        # The level is not known beforehand: it is taken from the observations, as far as `_LEVEL` lets it.
        self._mean = float(residual.mean())
        self._weights = _solve(self._factor, residual - self._mean)

    def predict(self, points: Sequence[Point]) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the logarithm of the error, without noise."""
        across = _kernel(points, self._points)
        prior = np.array([point.prior for point in points])
        mean = prior + self._mean + across @ self._weights
        half = np.linalg.solve(self._factor, across.T)
        own = _variances(points)
        return mean, np.sqrt(np.maximum(own - (half**2).sum(0), 1e-9))

    def draws(self, points: Sequence[Point], count: int, generator: np.random.Generator) -> Array:
        """What the logarithms of the errors may be (count, n): draws of all of them together, without noise."""
        mean, _ = self.predict(points)
        half = np.linalg.solve(self._factor, _kernel(points, self._points).T)
        covariance = _kernel(points, points) - half.T @ half
        factor = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(points)))
        return np.asarray(mean + standard_draws(count, len(points), generator) @ factor.T, dtype=np.float64)


def standard_draws(count: int, n: int, generator: np.random.Generator) -> Array:
    """Normal draws (count, n), each with its opposite, so that their mean is zero."""
    drawn = generator.standard_normal((-(-count // 2), n))
    return np.asarray(np.concatenate([drawn, -drawn])[:count], dtype=np.float64)


def gains_in_turn(drawn: Array, best: float) -> Array:
    """How far the lowest of the first 1, 2, ... columns (n,) of `drawn` (count, n) is expected to get below `best`."""
    lowest = np.minimum.accumulate(drawn, axis=1)
    return np.asarray(np.maximum(best - lowest, 0.0).mean(0), dtype=np.float64)


def expected_gain(mean: Array, deviation: Array, best: float) -> Array:
    """How far each is expected to get below `best`: zero where it stays above."""
    distance = (best - mean) / deviation
    density = np.exp(-0.5 * distance**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1.0 + np.vectorize(math.erf)(distance / math.sqrt(2)))
    gained: Array = deviation * (distance * below + density)
    return np.maximum(gained, 0.0)


def log_error(value: float, metric: str, direction: str, n: int) -> tuple[float, float]:
    """The logarithm of the error that a value means, and the variance of its noise by sampling.

    The error is the distance to the best value that the metric can have. Half an example stands for none.
    """
    low, high = limits_of(metric)
    bound = high if direction == "maximize" else low
    least = 0.5 / max(n, 1) if high - low == 1.0 else 1e-9
    error = max(abs(bound - value) if math.isfinite(bound) else abs(value), least)
    # Of a share: (1 - error) / (n error), by the delta method.
    noise = max(1.0 - error, 0.05) / (max(n, 1) * error) if high - low == 1.0 else 0.05
    return math.log(error), min(noise, 1.0)


def _kernel(left: Sequence[Point], right: Sequence[Point]) -> Array:
    """Covariances (n, m) of the logarithms of errors, beside what `Point.prior` says."""
    a, b = _positions(left), _positions(right)
    products = a @ b.T
    squares = ((a[:, None] - b[None]) / _BEND_LENGTH) ** 2
    kernel = _LEVEL**2 + _SLOPE**2 * products + _BEND**2 * np.exp(-0.5 * squares).sum(2)
    same = [_equal(left, right, place) for place in range(len(left[0].categories))] if left else []
    for each in same:
        kernel = kernel + each * (_CATEGORY**2 + _TOGETHER**2 * products)
    own = np.logical_and.reduce([*(each > 0 for each in same), squares.sum(2) == 0.0])
    return np.asarray(kernel + _OWN**2 * own, dtype=np.float64)


def _variances(points: Sequence[Point]) -> Array:
    """The diagonal (n,) of `_kernel(points, points)`."""
    positions = _positions(points)
    products = (positions**2).sum(1)
    categories = len(points[0].categories) if points else 0
    shared = categories * (_CATEGORY**2 + _TOGETHER**2 * products)
    return np.asarray(
        _LEVEL**2 + _SLOPE**2 * products + _BEND**2 * positions.shape[1] + shared + _OWN**2, dtype=np.float64
    )


def _positions(points: Sequence[Point]) -> Array:
    return np.array([point.positions for point in points], dtype=np.float64).reshape(len(points), -1)


def _equal(left: Sequence[Point], right: Sequence[Point], place: int) -> Array:
    """(n, m), 1 where both have the same category."""
    codes: dict[object, int] = {}
    a, b = (
        np.array([codes.setdefault(point.categories[place], len(codes)) for point in side]) for side in (left, right)
    )
    return np.array(a[:, None] == b[None], dtype=np.float64)


def _solve(factor: Array, values: Array) -> Array:
    return np.asarray(np.linalg.solve(factor.T, np.linalg.solve(factor, values)), dtype=np.float64)
