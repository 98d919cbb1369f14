"""Which runs confirm a search, and what they say of its trials: pure functions of records."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import leaderboard, leaderboard_rows, to_cells
from studies.confirmed import best_configs, confirmed_trials, refuted_trials, runs_to_confirm
from studies.records import TrialRecord, config_key
from training.machine.seeds import fresh_seed

from .test_leaderboard import a_record

COUNTS = st.integers(1, 4)


def confirmations(
    of: int, rights: list[int], first: int = 100, rate: float = 0.1, state: str = "complete"
) -> list[TrialRecord]:
    """Trials of `rights` right answers each, on the fresh seeds 1, 2, ... of a search with seed 0."""
    return [
        replace(
            a_record(first + nth, state, right, rate), confirms=of, seed=fresh_seed(0, 1 + nth), config={"rate": rate}
        )
        for nth, right in enumerate(rights)
    ]


@st.composite
def searches(draw: st.DrawFn) -> list[TrialRecord]:
    """Trials in which some configs are equal, and so have equal values."""
    rights = draw(st.lists(st.integers(0, 50), min_size=1, max_size=6))
    states = st.sampled_from(["complete", "pruned", "failed", "running"])
    picks = draw(st.lists(st.tuples(st.integers(0, len(rights) - 1), states), min_size=1, max_size=10))
    return [
        replace(a_record(number, state, rights[pick]), config={"rate": pick / 10})
        for number, (pick, state) in enumerate(picks)
    ]


def wanted(records: list[TrialRecord], top: int, seeds: int, direction: str = "maximize") -> list[tuple[int, int]]:
    runs = runs_to_confirm(records, direction=direction, seed=0, top=top, seeds=seeds)
    return [(run.number, run.nth) for run in runs]


@given(searches(), COUNTS, COUNTS, st.sampled_from(["maximize", "minimize"]))
def test_the_best_are_confirmed_on_the_same_fresh_seeds(
    records: list[TrialRecord], top: int, seeds: int, direction: str
) -> None:
    runs = runs_to_confirm(records, direction=direction, seed=0, top=top, seeds=seeds)
    complete = [record for record in records if record.state == "complete"]
    configs = {config_key(record.config) for record in complete}
    assert len({run.key for run in runs}) == len(runs) == seeds * min(top, len(configs))
    by_number = {record.number: record for record in complete}
    chosen = {run.number for run in runs}
    for run in runs:
        assert run.config == by_number[run.number].config
        assert run.seed == fresh_seed(0, run.nth)
    assert {run.seed for run in runs} <= {fresh_seed(0, nth) for nth in range(1, seeds + 1)}
    # No trial of another config that was left out is better than one that was chosen.
    sign = 1 if direction == "maximize" else -1
    of_chosen = {config_key(by_number[number].config) for number in chosen}
    left = [sign * (r.value or 0) for r in complete if config_key(r.config) not in of_chosen]
    assert not left or max(left) <= min(sign * (by_number[number].value or 0) for number in chosen)


@given(searches(), COUNTS, COUNTS)
def test_more_seeds_or_trials_add_to_what_there_was(records: list[TrialRecord], top: int, seeds: int) -> None:
    before = wanted(records, top, seeds)
    assert set(before) <= set(wanted(records, top + 1, seeds))
    # Seed by seed: whatever is stopped, all trials have as many seeds as any, but one.
    assert wanted(records, top, seeds + 1)[: len(before)] == before


def test_a_trial_keeps_its_runs_though_an_equal_config_did_better_on_another_seed() -> None:
    one, equal = a_record(0, right=40), replace(a_record(1, right=45), seed=9)
    one, equal = (replace(record, config={"rate": 0.1}) for record in (one, equal))
    assert wanted([one, equal], 1, 1) == [(1, 1)]
    assert wanted([one, equal, *confirmations(0, [30])], 1, 2) == [(0, 1), (0, 2)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_the_mean_is_of_the_fresh_seeds_alone_and_luck_is_the_difference(rights: list[int]) -> None:
    (one,) = confirmed_trials([a_record(0, right=45), *confirmations(0, rights)], metric="accuracy")
    assert one.seeds == len(rights)
    assert one.mean == pytest.approx(statistics.fmean(rights) / 50)
    assert one.luck == pytest.approx(0.9 - one.mean)
    assert (one.ci95 is None) == (len(rights) == 1)
    if one.ci95 is not None:
        assert 0 <= one.ci95[0] <= one.mean <= one.ci95[1] <= 1


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_ranked_by_the_bound_that_is_worse_and_not_by_the_mean(direction: str) -> None:
    steady, wild = (30, 31, 30), (45, 20, 29) if direction == "maximize" else (15, 40, 33)
    records = [a_record(0, right=32), a_record(2, right=48, rate=0.2), a_record(4, right=50, rate=0.3)]
    records += confirmations(0, [*steady]) + confirmations(2, [*wild], first=200, rate=0.2)
    found = confirmed_trials(records, direction=direction)
    better = max if direction == "maximize" else min
    assert better(found, key=lambda one: one.mean).number == 2
    assert [one.number for one in found] == [0, 2]
    rows = leaderboard_rows(records, direction=direction)
    # The confirmed ones first, whatever the others' values.
    assert [(row["rank"], row["number"], row["confirmed_seeds"]) for row in rows] == [(1, 0, 3), (2, 2, 3), (3, 4, 0)]


def test_a_config_that_comes_to_nothing_on_a_seed_is_refuted_and_comes_after_all_others() -> None:
    records = [a_record(0, right=49), a_record(1, right=48), a_record(2, right=20, rate=0.2), a_record(3, right=10)]
    records[1] = replace(records[1], config={"rate": 0.5})
    records[3] = replace(records[3], config={"rate": 0.6})
    records += confirmations(0, [49, 49]) + confirmations(0, [0], first=110, state="infeasible")
    # Two seeds were right, the third came to nothing.
    records[-1] = replace(records[-1], seed=fresh_seed(0, 3))
    records += confirmations(2, [20, 21, 20], first=200, rate=0.2)
    assert [one.number for one in confirmed_trials(records)] == [2]
    reason = "no result on 1 of 3 fresh seeds: it was infeasible"
    assert refuted_trials(records) == {0: reason}
    rows = leaderboard_rows(records)
    assert [row["number"] for row in rows] == [2, 1, 3, 0]
    assert (rows[3]["note"], rows[3]["confirmed_mean"], rows[3]["confirmed_seeds"]) == (reason, None, 0)
    # Nobody confirms it once more, nor another trial of its config.
    twin = replace(a_record(9, right=50), config=records[0].config)
    assert [record.number for record in best_configs([*records, twin], "maximize")] == [1, 2, 3]


def test_where_no_fresh_seed_has_a_value_a_trial_is_refuted_too() -> None:
    records = [a_record(0, right=49), a_record(1, right=48, rate=0.3)]
    records += confirmations(0, [0, 0], state="infeasible")
    assert confirmed_trials(records) == []
    assert refuted_trials(records) == {0: "no result on 2 of 2 fresh seeds: it was infeasible"}
    assert [row["number"] for row in leaderboard_rows(records)] == [1, 0]
    assert [record.number for record in best_configs(records, "maximize")] == [1]


def test_a_run_that_failed_counts_once_it_was_done_again() -> None:
    failed = replace(confirmations(0, [0], state="failed")[0])
    assert confirmed_trials([a_record(0), failed]) == []
    assert refuted_trials([a_record(0), failed]) == {}
    (one,) = confirmed_trials([a_record(0), failed, *confirmations(0, [30], first=101)])
    assert (one.seeds, one.mean) == (1, 0.6)


def test_confirmations_are_rows_of_their_own_only_where_they_are_asked_for() -> None:
    records = [a_record(0, right=45), *confirmations(0, [40, 41])]
    (row,) = leaderboard_rows(records)
    assert (row["rank"], row["number"], row["confirms"]) == (1, 0, None)
    assert row["luck"] == pytest.approx(0.9 - 0.81)
    rows = leaderboard_rows(records, confirmations=True)
    assert rows[0] == row
    assert [(r["rank"], r["number"], r["confirms"]) for r in rows[1:]] == [(None, 100, 0), (None, 101, 0)]
    assert leaderboard(records, confirmations=True)["confirmed_ci95_low"][0] == row["confirmed_ci95"][0]


def test_people_see_mean_interval_seeds_and_luck() -> None:
    records = [a_record(0, right=45), *confirmations(0, [40, 41]), a_record(2, right=10, rate=0.2)]
    headings, cells = to_cells(leaderboard_rows(records, metric="accuracy"), "accuracy")
    first, second = (dict(zip(headings, line, strict=True)) for line in cells)
    assert (first["confirmed %"], first["95 % of seeds"], first["seeds"]) == ("81.00", "68.3 to 93.7", "2")
    assert (first["luck %"], first["value %"]) == ("+9.00", "90.00")
    assert (second["confirmed %"], second["luck %"]) == ("", "")
    assert not {"confirmed %", "luck %"} & set(to_cells(leaderboard_rows([a_record(0)]), "accuracy")[0])
