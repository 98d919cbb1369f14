"""When a study has nothing left to do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.done import goal_reached, nothing_to_gain, why_done
from studies.records import TrialRecord

from ..toys import TOY
from .settings import settings_for
from .small_studies import a_study, result

SETTINGS = settings_for(TOY, trials=5)


def a_best(value: float | None) -> TrialRecord:
    study = a_study("sqlite://")
    study.ask(TOY.space, 1)
    study.finish(0, result())
    record = study.best()
    assert record is not None
    return replace(record, value=value)


BEST = a_best(0.8)


@given(st.sampled_from(["accuracy", "f1:spam", "r2"]), st.floats(max_value=1.0, exclude_max=True))
def test_what_is_better_the_greater_ends_at_1(metric: str, value: float) -> None:
    assert bool(nothing_to_gain(metric, "maximize", value)) == (value >= 1 - 1e-9)
    assert nothing_to_gain(metric, "maximize", 1.0)


@given(st.floats(min_value=5e-324))
def test_an_error_ends_at_0(value: float) -> None:
    assert not nothing_to_gain("rmse", "minimize", value)
    assert nothing_to_gain("rmse", "minimize", 0.0) == "nothing is left to gain: rmse is 0"


def test_in_words() -> None:
    assert nothing_to_gain("r2", "maximize", 1 - 1e-12) == "nothing is left to gain: r2 is 1"
    assert nothing_to_gain("accuracy", "maximize", 1.0) == "nothing is left to gain: accuracy is 100 %"
    assert nothing_to_gain("r2", "maximize", math.nan) == ""


@pytest.mark.parametrize(
    ("trials", "ended", "best", "why"),
    [
        (5, 4, BEST, ""),
        (5, 5, BEST, "all of its 5 trials have ended"),
        (5, 6, None, "all of its 5 trials have ended"),
        (None, 1000, BEST, ""),
        (None, 1, replace(BEST, value=1.0), "nothing is left to gain: accuracy is 100 %"),
        (5, 5, replace(BEST, value=1.0), "nothing is left to gain: accuracy is 100 %"),
        (5, 1, replace(BEST, value=None), ""),
    ],
)
def test_a_study_is_done(trials: int | None, ended: int, best: TrialRecord | None, why: str) -> None:
    assert why_done(replace(SETTINGS, trials=trials), ended, best) == why
    assert goal_reached(SETTINGS, None) == ""
