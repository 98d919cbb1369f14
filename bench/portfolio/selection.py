"""Which configs to take, given what every one of them is worth on every task. Pure.

The greedy choice of a portfolio from a matrix of results is that of TabRepo (Salinas and Erickson, AutoML 2024,
arXiv 2311.02971): the next config is the one that brings the tasks closest to their best together with those before.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Values = Mapping[str, float]
"""What a config is worth, by task; more is better."""


@dataclass(frozen=True)
class Row:
    """A candidate, by its place in the list of candidates, with its values and the seconds that it took in all."""

    candidate: int
    task: str
    values: Values
    seconds: float = 0.0


def regrets(rows: Sequence[Row], tasks: Sequence[str]) -> list[dict[str, float]]:
    """How far each row is from the best on each task: 0 is the best, 1 the median of all rows or worse."""
    scales = {}
    for task in tasks:
        values = [row.values[task] for row in rows]
        best = max(values)
        # A task on which half of the rows are the best says nothing about these.
        scales[task] = (best, max(best - statistics.median(values), 1e-9))
    return [{task: min((scales[task][0] - row.values[task]) / scales[task][1], 1.0) for task in tasks} for row in rows]


def greedy(rows: Sequence[Row], tasks: Sequence[str], size: int) -> list[Row]:
    """At most `size` rows, each the one that lowers the mean regret of the tasks the most; of equals the quickest.

    Once no row lowers it any more, which is soon with few tasks, the choice begins again among those that are left: a
    task that nobody has seen may well want the second best. Rows that are nowhere better than the median are not taken.
    """
    if not rows or not tasks:
        return []
    lost = regrets(rows, tasks)
    left = {place: 1.0 for place in range(len(rows))}
    reached = dict.fromkeys(tasks, 1.0)
    chosen: list[Row] = []
    while left and len(chosen) < size:
        after = {place: sum(min(reached[task], lost[place][task]) for task in tasks) for place in left}
        best = min(left, key=lambda place: (round(after[place], 9), rows[place].seconds, place))
        if after[best] >= sum(reached.values()) - 1e-9:
            if all(value == 1.0 for value in reached.values()):
                break
            reached = dict.fromkeys(tasks, 1.0)
            continue
        chosen.append(rows[best])
        reached = {task: min(reached[task], lost[best][task]) for task in tasks}
        del left[best]
    return chosen


@dataclass(frozen=True)
class LeftOut:
    """What the portfolio of the other tasks is worth on a task that it has not seen.

    `best` is the best of all candidates there. `size` is how many configs it has, and `first` after how many of them
    its value `value` is there.
    """

    task: str
    value: float
    best: float
    size: int
    first: int


def left_out(rows: Sequence[Row], tasks: Sequence[str], size: int) -> list[LeftOut]:
    """For each task in turn, without its results and without the candidates that were found on it."""
    found = []
    for task in tasks:
        others = [other for other in tasks if other != task]
        chosen = greedy([row for row in rows if row.task != task], others, size)
        if chosen:
            values = [row.values[task] for row in chosen]
            best = max(row.values[task] for row in rows)
            found.append(LeftOut(task, max(values), best, len(chosen), values.index(max(values)) + 1))
    return found


def trials_in_order(values: Sequence[float | None], target: float) -> int | None:
    """How many trials of a study, in its order, until one is at least as good as `target`; None where none is."""
    return next((n for n, value in enumerate(values, 1) if value is not None and value >= target), None)


def trials_at_random(values: Sequence[float | None], target: float) -> float | None:
    """The same on average over all orders of the study's trials: what a draw from them without plan would need."""
    as_good = sum(value is not None and value >= target for value in values)
    return (len(values) + 1) / (as_good + 1) if as_good else None
