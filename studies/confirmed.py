"""What the trials that confirm others say: the mean over fresh seeds, its interval, and how lucky the search was.

A search reports its best trial, the maximum of many values that each hold some luck: of the seed, and of the validation
examples. The same config trained on seeds that no choice was made by has no such luck of the seed.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from search_spaces import Config, limits_of
from training.machine.seeds import fresh_seed
from training.scoring.intervals import over_seeds

from .ranking import ranked, sign_of
from .records import TrialRecord, config_key, run_key


@dataclass(frozen=True)
class ToConfirm:
    """A run that confirms trial `number` of the search: its config, on the `nth` of the fresh seeds."""

    number: int
    config: Config
    seed: int
    nth: int

    @property
    def key(self) -> str:
        return run_key(self.config, self.seed)


@dataclass(frozen=True)
class Confirmed:
    """What came of trial `number` of the search on `seeds` fresh seeds.

    `mean` is that of their values, `ci95` its 95 % interval over the seeds, on the same validation examples; the seeds
    of the others have a say in its width, and seeds that came out equal still have one (`over_seeds`). It is None of a
    single seed. `luck` is the value that the search found less the mean.
    """

    number: int
    config: Config
    seeds: int
    mean: float
    ci95: tuple[float, float] | None
    luck: float


def runs_to_confirm(
    records: Sequence[TrialRecord], *, direction: str, seed: int, top: int, seeds: int
) -> list[ToConfirm]:
    """The runs that confirm the `top` best trials of a search with `seed` on the first `seeds` fresh seeds.

    Of trials with equal configs one is confirmed. All trials get the same seeds, one seed after the other, so that
    they can be compared by seed wherever the runs are stopped; more of either adds to what was there.
    """
    return runs_of(best_configs(records, direction)[:top], records, seed=seed, seeds=seeds)


def best_configs(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """The trials of a search that ran to their ends and are not refuted, best first, of equal configs the best one."""
    chosen: dict[str, TrialRecord] = {}
    refuted = refuted_configs(records)
    for record in ranked(records, direction):
        if record.state == "complete" and (key := config_key(record.config)) not in refuted:
            chosen.setdefault(key, record)
    return list(chosen.values())


def runs_of(
    chosen: Sequence[TrialRecord],
    records: Sequence[TrialRecord],
    *,
    seed: int,
    seeds: int,
    seed_at: Callable[[int, int], int] = fresh_seed,
) -> list[ToConfirm]:
    """The runs that confirm the `chosen` ones of a search's trials; see `runs_to_confirm`.

    `seed_at` gives the n-th seed of a search's.
    """
    confirmed: dict[str, int] = {}
    for record in records:
        if record.confirms is not None:
            confirmed.setdefault(config_key(record.config), record.confirms)
    return [
        ToConfirm(confirmed.get(config_key(record.config), record.number), record.config, seed_at(seed, nth), nth)
        for nth in range(1, seeds + 1)
        for record in chosen
    ]


def confirmed_trials(
    records: Sequence[TrialRecord], *, direction: str = "maximize", metric: str | None = None
) -> list[Confirmed]:
    """The trials of the search that were confirmed, best first: by the lower bound of the mean (where less is better,
    by the upper one), then those that have no interval. `metric` limits the interval to values that it can have.

    Those that were refuted are not among them; see `refuted_trials`."""
    of_seeds = _of_fresh_seeds(records)
    kept = [
        (trial, [run.value for run in runs if run.value is not None]) for trial, runs in of_seeds if not _lost(runs)
    ]
    kept = [(trial, values) for trial, values in kept if values]
    low, high = limits = limits_of(metric)
    # A share moves by whole examples; what has no limits moves as it likes.
    steps = [1 / max(trial.n, 1) if math.isfinite(high - low) else 0.0 for trial, _ in kept]
    estimates = over_seeds([values for _, values in kept], limits, steps)
    confirmed = [
        Confirmed(
            number=trial.number,
            config=trial.config,
            seeds=len(values),
            mean=(mean := statistics.fmean(values)),
            ci95=None if estimate is None else estimate.ci95,
            luck=(trial.value or 0.0) - mean,
        )
        for (trial, values), estimate in zip(kept, estimates, strict=True)
    ]
    sign = sign_of(direction)

    def order(one: Confirmed) -> tuple[bool, float, int]:
        bound = one.mean if one.ci95 is None else one.ci95[direction == "minimize"]
        return one.ci95 is None, sign * bound, one.number

    return sorted(confirmed, key=order)


def refuted_trials(records: Sequence[TrialRecord]) -> dict[int, str]:
    """The trials of the search that came to no result on some of their fresh seeds, by number, each with its reason."""
    found = {trial.number: (_lost(runs), runs) for trial, runs in _of_fresh_seeds(records)}
    return {
        number: f"no result on {len(lost)} of {len(runs)} fresh seeds: {lost[0].reason}"
        for number, (lost, runs) in found.items()
        if lost
    }


def refuted_configs(records: Sequence[TrialRecord]) -> set[str]:
    """Those of the refuted trials, by `config_key`: what the search found of them is of no use."""
    refuted = refuted_trials(records)
    return {config_key(record.config) for record in records if record.number in refuted}


def _of_fresh_seeds(records: Sequence[TrialRecord]) -> list[tuple[TrialRecord, list[TrialRecord]]]:
    """The trials of the search that have a value, each with its runs on fresh seeds that came to an end."""
    searched = {record.number: record for record in records if record.confirms is None and record.value is not None}
    runs: dict[int, dict[int, TrialRecord]] = defaultdict(dict)
    for record in records:
        # A run that failed may have been done again.
        if record.confirms in searched and record.state in ("complete", "infeasible"):
            runs[record.confirms][record.seed] = record
    return [(searched[number], list(of_seed.values())) for number, of_seed in runs.items()]


def _lost(runs: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [run for run in runs if run.state != "complete"]
