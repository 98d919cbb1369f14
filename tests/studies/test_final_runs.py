"""Which trials are trained once more on fresh seeds at the end of a search: a pure function of records and costs."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config
from studies.confirmed import ToConfirm
from studies.final_runs import MOST, MOST_ALIKE, SHARE, final_runs, longest_first, reserved_seconds, shared_out
from studies.records import TrialRecord
from studies.strategy import MARGIN
from training.machine.seeds import related_seed

from .test_leaderboard import a_record

# Cheap heads, and a structure whose runs take long.
_SECONDS = {"heads": 1.0, "views": 3.0, "stages": 20.0}
# What frozen stages take where nothing is kept yet.
_FROZEN = {"heads": 2.0, "views": 16.0, "stages": 1.0}


def a_trial(number: int, right: int, structure: str = "heads", state: str = "complete") -> TrialRecord:
    return replace(a_record(number, state, right), config={"structure": structure, "rate": number / 100})


def structure_of(config: Config) -> Config:
    return {"structure": config["structure"]}


def seconds(groups: Iterable[tuple[Config, int]]) -> list[float]:
    """The first of a structure computes what the others of it read."""
    taken, seen = [], set()
    for config, lanes in groups:
        structure = str(config["structure"])
        taken.append(_SECONDS[structure] * (1 + 0.1 * lanes) + (0.0 if structure in seen else _FROZEN[structure]))
        seen.add(structure)
    return taken


def chosen(
    records: list[TrialRecord],
    left: float,
    done: set[str] = frozenset(),  # type: ignore[assignment]
    workers: int = 1,
) -> list[ToConfirm]:
    return final_runs(
        records,
        direction="maximize",
        seed=0,
        left=left,
        seconds=seconds,
        structure_of=structure_of,
        done=lambda run: run.key in done,
        workers=workers,
    )


TRIALS = st.lists(st.tuples(st.integers(0, 50), st.sampled_from(sorted(_SECONDS))), max_size=12)


@given(TRIALS, st.floats(0, 500))
def test_the_best_come_first_on_equal_seeds_in_the_time_that_is_left(
    trials: list[tuple[int, str]], left: float
) -> None:
    records = [a_trial(number, right, structure) for number, (right, structure) in enumerate(trials)]
    runs = chosen(records, left)
    by_number = {record.number: record for record in records}
    seeds = Counter(run.number for run in runs)
    assert len(set(seeds.values())) <= 1
    assert all(run.seed == related_seed(0, run.nth) and run.config == by_number[run.number].config for run in runs)
    assert len(seeds) <= MOST
    of_structure = Counter(by_number[number].config["structure"] for number in seeds)
    assert all(count <= MOST_ALIKE for count in of_structure.values())
    if runs:
        groups = Counter((str(run.config["structure"]), run.seed) for run in runs)
        taken = sum(seconds(({"structure": structure}, lanes) for (structure, _), lanes in groups.items()))
        assert taken * MARGIN <= left
        best = max(records, key=lambda record: (record.value or 0, -record.number))
        assert best.number in seeds
        # Nobody is passed over for being dear.
        worst = min(by_number[number].value or 0 for number in seeds)
        passed_over = [r for r in records if (r.value or 0) > worst and r.number not in seeds]
        assert all(of_structure[r.config["structure"]] == MOST_ALIKE for r in passed_over)


def test_a_comparison_is_worth_more_than_the_last_seeds() -> None:
    records = [a_trial(0, 50, "stages"), a_trial(1, 49), a_trial(2, 48, "views")]

    def counts(left: float) -> list[int]:
        return sorted(Counter(run.number for run in chosen(records, left)).values())

    frozen, one_seed = 2 + 16 + 1, 22 + 1.1 + 3.3
    assert counts((frozen + 5.01 * one_seed) * MARGIN) == [5, 5, 5]
    assert counts((frozen + 2.01 * one_seed) * MARGIN) == [2, 2, 2]
    # The best alone, on as many seeds as there is time for, rather than others without it.
    assert counts((1 + 2 * 22) * MARGIN + 0.1) == [2]
    assert counts((1 + 2 * 22) * MARGIN - 0.1) == []


def test_more_trials_are_compared_rather_than_few_on_more_seeds() -> None:
    """Cheap heads alone, on five seeds, would leave out the stages that may be better than all of them."""
    records = [a_trial(0, 50), a_trial(1, 49), a_trial(2, 48, "views"), a_trial(3, 47, "stages")]
    frozen, one_seed = 2 + 16 + 1, 1.2 + 3.3 + 22
    runs = chosen(records, (frozen + 3.01 * one_seed) * MARGIN)
    assert Counter(run.number for run in runs) == {0: 3, 1: 3, 2: 3, 3: 3}


def test_what_frozen_stages_compute_for_one_seed_the_others_read() -> None:
    runs = chosen([a_trial(0, 50, "views")], (16 + 5 * 3.3) * MARGIN + 0.1)
    assert [run.nth for run in runs] == [1, 2, 3, 4, 5]


def test_what_was_trained_before_takes_no_time() -> None:
    records = [a_trial(0, 50, "stages"), a_trial(1, 49)]
    before = {run.key for run in chosen(records, 1000)}
    assert {run.key for run in chosen(records, 0, before)} == before


def test_only_trials_that_ran_to_their_ends_are_trained_again() -> None:
    records = [a_trial(0, 50, state="pruned"), a_trial(1, 49, state="failed"), a_trial(2, 48)]
    assert {run.number for run in chosen(records, 1000)} == {2}
    assert chosen([], 1000) == []


def reserved(records: list[TrialRecord], timeout: float, left: float = math.inf, workers: int = 1) -> float:
    return reserved_seconds(records, direction="maximize", timeout=timeout, left=left, seconds=seconds, workers=workers)


def test_a_share_of_the_time_is_reserved() -> None:
    for records in ([], [a_trial(0, 50)]):
        assert reserved(records, 60.0) == 60 * SHARE
        assert reserved(records, 600.0) == 600 * SHARE
        assert reserved(records, 36000.0) == 120.0


def test_where_the_best_trial_is_dear_the_time_that_it_takes_on_two_seeds_is_reserved() -> None:
    dear = [a_trial(0, 49, "stages"), a_trial(1, 48)]
    needed = MARGIN * sum(seconds([(dear[0].config, 1)] * 2))
    # Where it is within a quarter of the time, and not gone already.
    assert reserved(dear, 4.01 * needed) == reserved(dear, 4.01 * needed, left=needed) == needed
    assert reserved(dear, 4.01 * needed, left=0.99 * needed) == 4.01 * needed * SHARE
    assert reserved(dear, 3.99 * needed) == 3.99 * needed * SHARE
    # Two workers train two seeds at once; a better head asks for nothing.
    assert reserved(dear, 4.01 * needed, workers=2) < 0.55 * needed
    assert reserved([*dear, a_trial(2, 50)], 4.01 * needed) == 4.01 * needed * SHARE
    # Then at least these two runs fit.
    assert len(chosen(dear, needed)) == 2


@given(TRIALS, st.integers(1, 4))
def test_the_longest_runs_of_a_seed_begin_first_and_equal_ones_in_their_order(
    trials: list[tuple[int, str]], seeds: int
) -> None:
    records = [a_trial(number, right, structure) for number, (right, structure) in enumerate(trials)]
    runs = [ToConfirm(r.number, r.config, seed, nth=seed) for seed in range(seeds) for r in records]
    ordered = longest_first(runs, lambda config: _SECONDS[str(config["structure"])], structure_of)
    lengths = [_SECONDS[str(run.config["structure"])] for run in ordered]
    turns = [(run.nth, -length) for run, length in zip(ordered, lengths, strict=True)]
    assert turns == sorted(turns)  # where the time is up, no dear config has more seeds than the others
    assert sorted(map(runs.index, ordered)) == list(range(len(runs)))
    for length in set(lengths):
        alike = [run for run in ordered if _SECONDS[str(run.config["structure"])] == length]
        assert alike == [run for run in runs if run in alike]


@given(TRIALS, st.integers(1, 4))
def test_what_trains_side_by_side_stands_together(trials: list[tuple[int, str]], workers: int) -> None:
    """A group is filled with what waits next: one of another structure in between would end it."""
    records = [a_trial(number, right, structure) for number, (right, structure) in enumerate(trials)]
    runs = chosen(records, 1000, workers=workers)
    for order in (runs, longest_first(runs, lambda config: _SECONDS[str(config["structure"])], structure_of)):
        groups = [key for key, _ in itertools.groupby((str(run.config["structure"]), run.seed) for run in order)]
        assert len(groups) == len(set(groups))


@given(TRIALS, st.floats(0, 500), st.integers(2, 4))
def test_more_workers_do_no_less(trials: list[tuple[int, str]], left: float, workers: int) -> None:
    records = [a_trial(number, right, structure) for number, (right, structure) in enumerate(trials)]
    alone, together = chosen(records, left), chosen(records, left, workers=workers)
    compared = [len({run.number for run in runs}) for runs in (alone, together)]
    assert compared[1] >= min(compared[0], 3)
    assert not alone or together


@given(st.lists(st.floats(0, 100), max_size=10), st.integers(1, 5))
def test_workers_take_at_least_their_share_and_at_most_one_thing_more(seconds: list[float], workers: int) -> None:
    share = sum(seconds) / workers
    longest = max(seconds, default=0.0)
    assert max(share, longest) - 1e-9 <= shared_out(seconds, workers) <= share + longest + 1e-9
    assert shared_out(seconds, 1) == pytest.approx(sum(seconds))
