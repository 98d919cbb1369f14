"""A race of models over held-out examples: who is clearly behind leaves it. Numbers only, no models.

Cross-validation tells configs apart that one validation split can't, and most of what it costs goes into configs that
some folds would have been enough to leave out ("Crossing the Validation Crisis", 2026, arXiv 2606.12552; Maron and
Moore, Hoeffding races, NIPS 1993).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FOLDS = 3
"""Of the examples: as many hold each of them out once. Five told heads apart no better than three and cost twice as
much (docs/decisions/0025)."""
MOST_ENTRANTS = 8
_LEVEL = 0.05


def entrants(values: Sequence[float], works: Sequence[float], room: float) -> list[int]:
    """The places of those that enter a race, best first: at most `MOST_ENTRANTS`, of no more work than there is room.

    The best enters in any case: it is what this race's models are compared with others by.

    Args:
        values: the more the better.
        works: what each one's race would cost, in the unit of `room`. Who has no room is passed over.
    """
    chosen: list[int] = []
    for place in sorted(range(len(values)), key=lambda place: (-values[place], place)):
        if not chosen or (len(chosen) < MOST_ENTRANTS and works[place] <= room):
            chosen.append(place)
            room -= works[place]
    return chosen


class Race:
    """Models 0..n-1 that are scored on the same held-out examples, fold by fold.

    Differences from the best are paired by example, and their errors are by group: examples of one group count as one
    sample (Liang and Zeger, Biometrika 1986). A model leaves when the 95 % interval of its difference excludes 0, all
    the intervals of one look together (Bonferroni); looks are not corrected for, as each has all that the ones before
    had.
    """

    def __init__(self, models: int, groups: NDArray[np.int64]) -> None:
        """`groups` (examples,) are numbers from 0 on."""
        self.running = list(range(models))
        self._groups = groups
        # Of each model and group: the sum of the scores so far, and how many.
        self._sums = np.zeros((models, int(groups.max(initial=-1)) + 1))
        self._counts = np.zeros_like(self._sums)

    def add(self, examples: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Scores (running, m), the more the better, of the models that are `running`, on examples (m,)."""
        groups, size = self._groups[examples], self._sums.shape[1]
        for model, row in zip(self.running, scores, strict=True):
            self._sums[model] += np.bincount(groups, row, size)
            self._counts[model] += np.bincount(groups, minlength=size)

    def drop_behind(self) -> list[int]:
        """The models that leave now, as they are clearly behind the best."""
        means = {model: self._mean(self._sums[model], self._counts[model])[0] for model in self.running}
        finite = [model for model in self.running if math.isfinite(means[model])]
        if not finite:
            return []
        best = max(finite, key=lambda model: (means[model], -model))
        level = 1 - _LEVEL / 2 / max(len(self.running) - 1, 1)
        behind = [model for model in self.running if model != best and self._is_behind(model, best, level)]
        self.running = [model for model in self.running if model not in behind]
        return behind

    def _is_behind(self, model: int, best: int, level: float) -> bool:
        mean, error, groups = self._mean(self._sums[best] - self._sums[model], self._counts[best])
        # Not a number, where the model's scores are none.
        return not mean <= t_quantile(level, groups - 1) * error

    def standing(self, model: int) -> tuple[float, float, int]:
        """The mean of a model's scores, its standard error by group, and the number of groups."""
        return self._mean(self._sums[model], self._counts[model])

    @staticmethod
    def _mean(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float, int]:
        n, groups = counts.sum(), int(np.count_nonzero(counts))
        if groups < 2:
            return float(sums.sum() / n) if n else math.nan, math.inf, groups
        mean = sums.sum() / n
        apart = sums - mean * counts
        return float(mean), float(np.sqrt(groups / (groups - 1) * (apart @ apart)) / n), groups


def t_quantile(level: float, freedom: int) -> float:
    """Of Student's t distribution with `freedom` degrees of freedom, to some percent from 4 on; inf for none.

    Abramowitz and Stegun (1964), 26.7.5. scipy's takes a third of a second to import.
    """
    if freedom < 1:
        return math.inf
    z = NormalDist().inv_cdf(level)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + (z**3 + z) / 4 / freedom + second / freedom**2
