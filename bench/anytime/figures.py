"""What the runs say, as numbers: values at the marks, speed-ups, and where ours is below the probe. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from training import wilson

from .runs import BEFORE, MARKS, OPTUNA, OURS, PROBE, RAY, Point, Run, best_at, incumbents, reached


@dataclass(frozen=True)
class Spread:
    """The median over seeds with the least and the largest; `missing` seeds had nothing."""

    median: float
    low: float
    high: float
    missing: int = 0


def spread(values: Sequence[float | None]) -> Spread | None:
    """Of what is there; None where no seed has anything."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    return Spread(statistics.median(found), min(found), max(found), len(values) - len(found))


def marks_of(runs: Sequence[Run]) -> list[float]:
    """The marks that lie within the time that the longest run was given, and its end where that is no mark."""
    longest = max((run.seconds for run in runs), default=0.0)
    return [*(mark for mark in MARKS if mark < longest), *([longest] if longest else [])]


def value_at(run: Run, mark: float, *, test: bool = False) -> float | None:
    """Of the best by then; None where the run had nothing yet, was not given so much time, or has no such score."""
    point = best_at(run.points, mark) if mark <= run.seconds else None
    if point is None:
        return None
    return (None if point.test is None else point.test.value) if test else point.value


@dataclass(frozen=True)
class SpeedUp:
    """How much sooner `system` was where `peer` was at its end, for one task and seed.

    `target` is the peer's value at its end, first there after `peers` seconds; `seconds` is when the system was there,
    None where it never was. `budget` is the time that both had.
    """

    task: str
    seed: int
    system: str
    peer: str
    target: float
    peers: float
    seconds: float | None
    budget: float

    @property
    def of_peer(self) -> float:
        """Against the moment in which the peer itself was there; 0 where the system never was."""
        return self.peers / self.seconds if self.seconds else 0.0

    @property
    def of_budget(self) -> float:
        """Against all of the time that the peer had."""
        return self.budget / self.seconds if self.seconds else 0.0


def speed_ups(runs: Sequence[Run]) -> list[SpeedUp]:
    """Of ours, now and before, against Optuna and Ray Tune, where both have a run of one task and seed."""
    by_key = {run.key: run for run in runs}
    found = []
    for system in (OURS, BEFORE):
        for peer in (OPTUNA, RAY):
            for run in (run for run in runs if run.system == system):
                other = by_key.get((run.task, peer, run.seed))
                if other is None or not (steps := incumbents(other.points)):
                    continue
                last = steps[-1]
                when = reached(run.points, last.value)
                found.append(SpeedUp(run.task, run.seed, system, peer, last.value, last.seconds, when, other.seconds))
    return found


@dataclass(frozen=True)
class Below:
    """A stretch of time in which ours was below the probe: `ours` is its highest value in there, None for none at all.

    `bound` is the lowest that the lower end of the probe's 95 % interval was in there.
    """

    task: str
    seed: int
    start: float
    end: float
    ours: float | None
    bound: float


def below_probe(runs: Sequence[Run]) -> list[Below]:
    """Where the curve of ours is below the 95 % interval of the probe's, by task and seed."""
    by_key = {run.key: run for run in runs}
    found = []
    for run in (run for run in runs if run.system == OURS):
        other = by_key.get((run.task, PROBE, run.seed))
        if other is not None:
            found += _below(run, other)
    return found


def _below(run: Run, other: Run) -> list[Below]:
    ours, probe = incumbents(run.points), incumbents(other.points)
    # Nothing changes between these.
    times = sorted({point.seconds for point in (*ours, *probe) if point.seconds < run.seconds})
    found: list[Below] = []
    for start, until in itertools.pairwise([*times, run.seconds]):
        best, theirs = best_at(ours, start), best_at(probe, start)
        if theirs is None:
            continue
        bound = wilson(theirs.value, theirs.n).low
        if best is not None and best.value >= bound:
            continue
        value = None if best is None else best.value
        last = found[-1] if found else None
        if last is not None and last.end == start and (last.ours is None) == (value is None):
            found[-1] = Below(run.task, run.seed, last.start, until, value, min(bound, last.bound))
        else:
            found.append(Below(run.task, run.seed, start, until, value, bound))
    return found


def curve(runs: Sequence[Run], times: Sequence[float]) -> list[Spread | None]:
    """The best value so far over seeds at each of `times`; None until every seed has one, and after the runs' time."""
    found = []
    for time in times:
        values = [value_at(run, time) for run in runs]
        found.append(spread(values) if values and all(value is not None for value in values) else None)
    return found


def changes(runs: Sequence[Run]) -> list[float]:
    """The times at which some run's best changes, and the end of the longest."""
    times = {point.seconds for run in runs for point in incumbents(run.points)}
    return sorted(times | {run.seconds for run in runs})


def median_ratio(ratios: Sequence[float]) -> float:
    """Where some are 0, which stands for never, the lower one of two in the middle: half of never is nothing."""
    if not ratios:
        return math.nan
    return statistics.median(ratios) if all(ratios) else statistics.median_low(ratios)


def ended_with(run: Run) -> Point | None:
    return best_at(run.points, run.seconds)
