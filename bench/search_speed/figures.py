"""From blocks to figures: seconds a trial, how many times faster, and whether the same was learned."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .methods import OURS
from .results import Block, Results

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Ratio:
    """How many times the trials per hour of `against` ours makes in a search of `trials`, everything counted.

    `ratio` is that of the totals; `median`, `low` and `high` (95 %) are of its bootstrap distribution over blocks.
    """

    against: str
    trials: int
    ratio: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Accuracy of ours minus that of `against`, in points, over the `n` configs that both trained.

    `low` and `high` bound the mean's 95 % t-interval; None with fewer than two configs.
    """

    against: str
    n: int
    mean: float
    low: float | None
    high: float | None


def startup(blocks: Sequence[Block]) -> float:
    """Seconds that a method's process needs to start; their mean where a run was taken up again."""
    started = [block.startup for block in blocks if block.startup > 0]
    return statistics.fmean(started) if started else 0.0


def seconds_per_trial(blocks: Sequence[Block], trials: int) -> float:
    """Seconds a trial in a search of `trials`, the start included once.

    A method that was measured on fewer trials is scaled to `trials` that cost what its own did on average.
    """
    return startup(blocks) / trials + sum(b.seconds for b in blocks) / sum(len(b.trained) for b in blocks)


def ratio(ours: Sequence[Block], against: Sequence[Block], trials: int) -> Ratio:
    """Blocks are resampled and not trials, as what disturbs a machine outlasts one.

    Totals and not single blocks are divided: the first blocks of ours compute what the later ones only read.
    """
    generator = np.random.default_rng(0)
    drawn = _resampled(against, trials, generator) / _resampled(ours, trials, generator)
    low, median, high = (float(value) for value in np.quantile(drawn, (0.025, 0.5, 0.975)))
    whole = seconds_per_trial(against, trials) / seconds_per_trial(ours, trials)
    return Ratio(against[0].method, trials, whole, median, low, high)


def _resampled(blocks: Sequence[Block], trials: int, generator: np.random.Generator) -> Any:
    """Seconds a trial in each resample of the blocks."""
    seconds = np.array([block.seconds for block in blocks])
    counts = np.array([len(block.trained) for block in blocks])
    chosen = generator.integers(len(blocks), size=(_RESAMPLES, len(blocks)))
    return startup(blocks) / trials + seconds[chosen].sum(1) / counts[chosen].sum(1)


def difference(ours: Sequence[Block], against: Sequence[Block]) -> Difference | None:
    """None where no config was trained by both."""
    mine, theirs = accuracies(ours), accuracies(against)
    differences = [100 * (mine[config] - theirs[config]) for config in sorted(mine.keys() & theirs.keys())]
    if not differences:
        return None
    n, mean = len(differences), statistics.fmean(differences)
    if n < 2:
        return Difference(against[0].method, n, mean, None, None)
    from scipy.stats import t  # type: ignore[import-untyped]

    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return Difference(against[0].method, n, mean, mean - half, mean + half)


def accuracies(blocks: Sequence[Block]) -> dict[int, float]:
    """Accuracy of each config that could be trained."""
    return {one.config: one.accuracy for b in blocks for one in b.trained if one.accuracy is not None}


def ratios(results: Results) -> list[Ratio]:
    """Of ours against every other method, over the list that was asked for."""
    ours = results.of(OURS)
    others = [name for name in results.methods if name != OURS]
    return [ratio(ours, results.of(name), len(results.configs)) for name in others] if ours else []


def differences(results: Results) -> list[Difference]:
    found = [difference(results.of(OURS), results.of(name)) for name in results.methods if name != OURS]
    return [one for one in found if one is not None]


def growth_ratios(results: Results) -> list[Ratio]:
    """Of ours over longer lists, against the others' trials of the list that was asked for."""
    others = [name for name in results.methods if name != OURS]
    return [ratio([block], results.of(name), len(block.trained)) for block in results.growth for name in others]


def running_seconds(blocks: Sequence[Block]) -> list[tuple[int, float]]:
    """After each trial: how many there were, and the seconds a trial until then, the start included."""
    points = []
    total, count = startup(blocks), 0
    for block in blocks:
        for one in block.trained:
            total += one.seconds
            count += 1
            points.append((count, total / count))
    return points


def derived(results: Results) -> dict[str, Any]:
    """Everything above as plain data; `rows` has one entry for each config and method, with its share of the start."""
    trials = len(results.configs)
    return {
        "rows": [
            {
                "method": name,
                "config": one.config,
                "seconds": one.seconds + startup(results.of(name)) / trials,
                "accuracy": one.accuracy,
            }
            for name in results.methods
            for block in results.of(name)
            for one in block.trained
        ],
        "ratios": [asdict(one) for one in ratios(results)],
        "differences": [asdict(one) for one in differences(results)],
        "growth_ratios": [asdict(one) for one in growth_ratios(results)],
    }
