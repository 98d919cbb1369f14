"""Trials stand by value; within the interval of the best one `robust` decides, and nothing else changes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import leaderboard_rows
from studies.ranking import Best, ranked, tied
from studies.records import TrialRecord
from training import wilson

from .test_leaderboard import a_record

DIRECTIONS = st.sampled_from(["maximize", "minimize"])


@st.composite
def trials(draw: st.DrawFn, *, measured: bool = True) -> list[TrialRecord]:
    """With values close enough to be tied, with and without groups and `robust`, some confirming others."""
    found = []
    for number in range(draw(st.integers(0, 10))):
        state = draw(st.sampled_from(["complete", "complete", "complete", "interrupted", "pruned"]))
        record = a_record(number, state, draw(st.integers(20, 50)))
        if draw(st.booleans()):
            record = replace(record, group_value=None, groups_ci95=None, n_groups=0)
        if measured and state == "complete" and draw(st.booleans()):
            record = replace(record, robust=draw(st.integers(0, 5)) / 5)
        if draw(st.integers(0, 5)) == 0:
            record = replace(record, confirms=0)
        found.append(record)
    return found


def numbers(records: list[TrialRecord]) -> list[int]:
    return [record.number for record in records]


def counts(record: TrialRecord) -> bool:
    return record.confirms is None and record.state in ("complete", "interrupted")


def of_value(right: int, robust: float | None, number: int, of: int = 100) -> TrialRecord:
    """Without groups."""
    value = right / of
    ci95 = wilson(value, of).ci95
    return replace(
        a_record(number), value=value, n=of, ci95=ci95, group_value=None, groups_ci95=None, n_groups=0, robust=robust
    )


@given(trials(measured=False), DIRECTIONS)
def test_where_nothing_is_measured_trials_stand_by_value(records: list[TrialRecord], direction: str) -> None:
    sign = -1 if direction == "maximize" else 1
    values = [(sign * (r.value or 0), r.state == "interrupted", r.number) for r in records if counts(r)]
    assert numbers(ranked(records, direction)) == [number for _, _, number in sorted(values)]


@given(trials(), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_order_is_one_whatever_that_of_the_records(
    records: list[TrialRecord], direction: str, shuffled: random.Random
) -> None:
    other = list(records)
    shuffled.shuffle(other)
    assert numbers(ranked(other, direction)) == numbers(ranked(records, direction))
    assert set(numbers(ranked(records, direction))) == {record.number for record in records if counts(record)}


@given(trials(), DIRECTIONS)
def test_only_tied_trials_that_are_measured_change_places(records: list[TrialRecord], direction: str) -> None:
    plain = ranked([replace(record, robust=None) for record in records], direction)
    found = ranked(records, direction)
    by_number = {record.number: record for record in records}
    moving = []
    for place, record in enumerate(plain):
        measured = by_number[record.number]
        if measured.robust is not None and tied(measured, plain[0], direction):
            moving.append(found[place])
        else:
            assert found[place].number == record.number
    robust = [record.robust for record in moving]
    assert None not in robust
    assert robust == sorted(robust, key=lambda value: value or 0, reverse=direction == "maximize")


@given(trials(), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_best_is_kept_up_to_date_as_trials_end(
    records: list[TrialRecord], direction: str, shuffled: random.Random
) -> None:
    searched = [record for record in records if counts(record)]
    shuffled.shuffle(searched)
    best = Best(direction)
    assert best.record is None
    for done, record in enumerate(searched, start=1):
        best.add(record)
        assert best.record == ranked(searched[:done], direction)[0]


def test_the_third_digit_gives_way_to_robustness_and_a_real_difference_does_not() -> None:
    lucky, sturdy, poor = of_value(99, 0.90, 0), of_value(97, 0.95, 1), of_value(80, 0.99, 2)
    assert numbers(ranked([lucky, sturdy, poor], "maximize")) == [1, 0, 2]


def test_one_that_was_not_measured_is_put_behind_none() -> None:
    first, second, third = of_value(99, None, 0), of_value(98, 0.90, 1), of_value(97, 0.95, 2)
    assert numbers(ranked([first, second, third], "maximize")) == [0, 2, 1]
    assert numbers(ranked([first, replace(second, robust=None), third], "maximize")) == [0, 1, 2]


def test_less_is_better_where_the_metric_says_so() -> None:
    found = [replace(of_value(10, 0.5, 0), ci95=(0.05, 0.2)), of_value(15, 0.4, 1), of_value(30, 0.1, 2)]
    assert numbers(ranked(found, "minimize")) == [1, 0, 2]


@pytest.mark.parametrize(("grouped", "order"), [((0.90, 0.99), [1, 0]), ((0.985, 0.99), [0, 1])])
def test_groups_decide_what_is_tied_where_there_are_any(grouped: tuple[float, float], order: list[int]) -> None:
    best = replace(of_value(99, 0.90, 0), group_value=0.99, groups_ci95=grouped)
    other = replace(of_value(98, 0.95, 1), group_value=0.98, groups_ci95=(0.9, 1.0))
    assert numbers(ranked([best, other], "maximize")) == order


def test_the_leaderboard_stands_in_this_order_and_tells_the_figure() -> None:
    rows = leaderboard_rows([of_value(99, 0.90, 0), of_value(97, 0.95, 1), of_value(98, None, 2)])
    assert [(row["rank"], row["number"], row["robust"]) for row in rows] == [(1, 1, 0.95), (2, 2, None), (3, 0, 0.90)]
