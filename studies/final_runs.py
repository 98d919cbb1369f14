"""The end of a search's time: its best trials once more, on fresh seeds, so that a model wins and not its luck.

The best of hundreds of trials holds the luck of its seed. Trained again on seeds that no choice was made by, the best
few are ranked by what they come to on average (docs/decisions/0029).
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from search_spaces import Config
from training.machine.seeds import related_seed

from .confirmed import ToConfirm, best_configs, runs_of
from .records import TrialRecord
from .strategy import MARGIN

SHARE = 0.1
"""Of a search's time, what is kept for this."""
_MOST_SECONDS = 120.0
# Where the best trial is dear, more is kept, up to this share.
_MOST_SHARE = 0.25
# So many trials at most, of one structure no more than some: the best are often one head in small variations.
MOST, MOST_ALIKE = 6, 2
# The interval of a mean needs two seeds, is of some use with three, and more than five say little more.
_LEAST_SEEDS, _SEEDS, _MOST_SEEDS = 2, 3, 5
# A comparison of so many is worth more than the third seed.
_ENOUGH = 3

Seconds = Callable[[Iterable[tuple[Config, int]]], Sequence[float]]
"""What each of some groups takes after those before it, each of so many runs of a config's structure side by side."""
StructureOf = Callable[[Config], Config]


def reserved_seconds(
    records: Sequence[TrialRecord],
    *,
    direction: str,
    timeout: float,
    left: float,
    seconds: Seconds,
    workers: int = 1,
) -> float:
    """Of the `timeout` of a search of which so many seconds are `left`, what it is to leave for its final runs.

    A tenth, but two minutes at most; where the best trial so far would not fit into that on two seeds, what these take,
    if that is a quarter at most and there is still time for it: else the dearest find would be the least certain.
    """
    usual = min(SHARE * timeout, _MOST_SECONDS)
    best = best_configs(records, direction)[:1]
    each = seconds((record.config, 1) for record in best for _ in range(_LEAST_SEEDS))
    needed = MARGIN * shared_out(each, workers)
    return needed if usual < needed <= min(left, _MOST_SHARE * timeout) else usual


def final_runs(
    records: Sequence[TrialRecord],
    *,
    direction: str,
    seed: int,
    left: float,
    seconds: Seconds,
    structure_of: StructureOf,
    done: Callable[[ToConfirm], bool] = lambda run: False,
    workers: int = 1,
) -> list[ToConfirm]:
    """The runs that confirm the best trials of a search as far as they fit into the time that is `left`.

    The best trial is always among them, and a worse one never without those before it: who is confirmed goes before
    who is not. The seeds share the search's augmented views, as new ones would cost more than the runs. As many trials
    as there is time for on three seeds are compared, on more seeds where there is time for these too; on two where less
    than three trials fit otherwise. Empty where not even the best trial fits on two seeds.

    Args:
        structure_of: of a config; runs of equal ones and one seed train side by side.
        done: whether a run was trained before, so that it takes no time.
        workers: that train at the same time.
    """
    chosen = _of_many_structures(best_configs(records, direction), structure_of)

    def fitting(count: int, seeds: int) -> list[ToConfirm]:
        """The runs of the first `count` on so many seeds; none where these take too long."""
        runs = runs_of(chosen[:count], records, seed=seed, seeds=seeds, seed_at=related_seed)
        runs = list(itertools.chain(*_in_groups(runs, structure_of)))
        wanted = _in_groups((run for run in runs if not done(run)), structure_of)
        each = seconds((group[0].config, len(group)) for group in wanted)
        return runs if MARGIN * shared_out(each, workers) <= left else []

    def most(seeds: int, limit: int) -> int:
        return next((count for count in range(limit, 0, -1) if fitting(count, seeds)), 0)

    count = most(_SEEDS, len(chosen))
    if count < _ENOUGH:
        on_two = most(_LEAST_SEEDS, min(_ENOUGH, len(chosen)))
        if on_two > count:
            return fitting(on_two, _LEAST_SEEDS)
    return next(filter(None, (fitting(count, seeds) for seeds in range(_MOST_SEEDS, _SEEDS - 1, -1))), [])


def longest_first(
    runs: Iterable[ToConfirm], seconds: Callable[[Config], float], structure_of: StructureOf
) -> list[ToConfirm]:
    """The runs in the order in which several workers are through with them soonest, or nearly so: nobody is left with
    a long one when all others are idle (Graham 1969, doi 10.1137/0117039). Still one seed after the other: where the
    time is up before all are done, no dear config has more seeds than the others. Equal ones stay in their order, and
    what trains side by side stays together."""
    groups = sorted(_in_groups(runs, structure_of), key=lambda group: (group[0].nth, -seconds(group[0].config)))
    return list(itertools.chain(*groups))


def shared_out(seconds: Iterable[float], workers: int) -> float:
    """When the last of some workers is done that take what takes so long one by one, the longest first."""
    ends = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _of_many_structures(records: Iterable[TrialRecord], structure_of: StructureOf) -> list[TrialRecord]:
    """The best `MOST`, at most `MOST_ALIKE` of one structure."""
    counts: Counter[str] = Counter()

    def is_new(record: TrialRecord) -> bool:
        counts[key := _key(structure_of(record.config))] += 1
        return counts[key] <= MOST_ALIKE

    return list(itertools.islice(filter(is_new, records), MOST))


def _in_groups(runs: Iterable[ToConfirm], structure_of: StructureOf) -> list[list[ToConfirm]]:
    """Runs that train side by side, as they are of one structure and one seed; in the order of each one's first."""
    groups: dict[tuple[str, int], list[ToConfirm]] = {}
    for run in runs:
        groups.setdefault((_key(structure_of(run.config)), run.seed), []).append(run)
    return list(groups.values())


def _key(structure: Config) -> str:
    return repr(sorted(structure.items()))
