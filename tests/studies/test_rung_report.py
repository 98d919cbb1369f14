"""Rank correlations between rungs, from records alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studies.records import TrialRecord
from studies.rung_report import Carried, rank_correlations

from ..toys import TOY
from .small_studies import a_study, result


def a_record() -> TrialRecord:
    study = a_study("sqlite://")
    study.ask(TOY.space, 1)
    study.recording.finish(0, result())
    return study.trial(0)


BLANK = a_record()


def trials(rung: int, values: dict[str, float]) -> list[TrialRecord]:
    return [replace(BLANK, rung=rung, features=name, value=value, state="complete") for name, value in values.items()]


LOW = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}


@pytest.mark.parametrize(
    ("high", "correlation"),
    [
        ({"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8}, 1.0),
        ({"a": 0.8, "b": 0.7, "c": 0.6, "d": 0.5}, -1.0),
        ({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}, None),
    ],
)
def test_ranks_that_carry_over(high: dict[str, float], correlation: float | None) -> None:
    worse = trials(0, {"a": 0.0, "d": 0.01})
    (found,) = rank_correlations([*trials(0, LOW), *worse, *trials(1, high), *trials(2, {"a": 0.9})])
    assert found == Carried(0, 1, 4, None if correlation is None else pytest.approx(correlation))


def test_three_pairs_say_nothing_and_what_was_given_up_has_no_value() -> None:
    three = dict(list(LOW.items())[:3])
    assert rank_correlations([*trials(0, LOW), *trials(1, three)]) == []
    pruned = [replace(record, state="pruned") for record in trials(1, LOW)]
    assert rank_correlations([*trials(0, LOW), *pruned]) == []


def test_of_an_error_the_least_is_the_best() -> None:
    high = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    worse = trials(0, dict.fromkeys(LOW, 9.0))
    (found,) = rank_correlations([*trials(0, LOW), *worse, *trials(1, high)], "minimize")
    assert found.correlation == pytest.approx(-1.0)
