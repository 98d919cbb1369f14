"""Whether a cheap rung tells the truth: how the ranks of promoted trials carry over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .records import TrialRecord

# Fewer pairs than this say nothing about ranks.
_LEAST_PAIRS = 4


@dataclass(frozen=True)
class Carried:
    """Spearman's rank correlation between the values of promoted trials and of those that they were promoted to.

    `correlation` is None where all values of one rung are equal.
    """

    lower: int
    higher: int
    pairs: int
    correlation: float | None

    def __str__(self) -> str:
        found = "undefined, as all values are equal" if self.correlation is None else f"{self.correlation:.2f}"
        return f"rank correlation {found} over {self.pairs} promoted trials"


def rank_correlations(records: Iterable[TrialRecord]) -> list[Carried]:
    """Of each pair of rungs that enough trials were promoted between; of several promotions of a trial, their mean.

    Promoted trials are the better ones, and a narrow range of values makes a correlation smaller than it would be over
    all trials.
    """
    by_number = {record.number: record for record in records if record.value is not None}
    found: dict[tuple[int, int], dict[int, list[float]]] = {}
    for child in by_number.values():
        parent = by_number.get(-1 if child.promoted_from is None else child.promoted_from)
        if parent is None or parent.rung is None or child.rung is None or child.state != "complete":
            continue
        assert child.value is not None
        found.setdefault((parent.rung, child.rung), {}).setdefault(parent.number, []).append(child.value)
    reports = []
    for (lower, higher), values in sorted(found.items()):
        if len(values) >= _LEAST_PAIRS and lower < higher:
            before = [by_number[number].value or 0.0 for number in values]
            after = [sum(reached) / len(reached) for reached in values.values()]
            reports.append(Carried(lower, higher, len(values), _spearman(before, after)))
    return reports


def _spearman(before: list[float], after: list[float]) -> float | None:
    if len(set(before)) == 1 or len(set(after)) == 1:
        return None
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    return float(spearmanr(before, after).statistic)
