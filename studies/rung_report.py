"""Whether a cheap rung tells the truth: how the ranks of features carry over to the rungs above."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .records import TrialRecord

# Fewer pairs than this say nothing about ranks.
_LEAST_PAIRS = 4


@dataclass(frozen=True)
class Carried:
    """Spearman's rank correlation, over choices of features, of the best values at two rungs.

    `correlation` is None where all values of one rung are equal.
    """

    lower: int
    higher: int
    pairs: int
    correlation: float | None

    def __str__(self) -> str:
        found = "undefined, as all values are equal" if self.correlation is None else f"{self.correlation:.2f}"
        return f"rank correlation {found} over {self.pairs} choices of features"


def rank_correlations(records: Iterable[TrialRecord], direction: str = "maximize") -> list[Carried]:
    """Of each two rungs that enough choices of features (a backbone at a resolution) were tried at.

    What was promoted did well below, and a narrow range of values makes a correlation smaller than it would be over
    everything.
    """
    best: dict[int, dict[str, float]] = {}
    better = max if direction == "maximize" else min
    for record in records:
        if record.rung is None or not record.features or record.value is None or record.state != "complete":
            continue
        found = best.setdefault(record.rung, {})
        found[record.features] = better(record.value, found.get(record.features, record.value))
    reports = []
    rungs = sorted(best)
    for place, lower in enumerate(rungs):
        for higher in rungs[place + 1 :]:
            shared = sorted(best[lower].keys() & best[higher].keys())
            if len(shared) >= _LEAST_PAIRS:
                before, after = ([best[rung][name] for name in shared] for rung in (lower, higher))
                reports.append(Carried(lower, higher, len(shared), _spearman(before, after)))
    return reports


def _spearman(before: list[float], after: list[float]) -> float | None:
    if len(set(before)) == 1 or len(set(after)) == 1:
        return None
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    return float(spearmanr(before, after).statistic)
