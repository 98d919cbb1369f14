"""When a study has nothing left to do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from studies import Study, status_of
from studies.done import check_target, goal_reached, nothing_to_gain, why_done
from studies.records import TrialRecord

from ..toys import TOY
from .settings import settings_for
from .small_studies import a_study, result

SETTINGS = settings_for(TOY, trials=5)


def a_best(value: float | None) -> TrialRecord:
    study = a_study("sqlite://")
    study.ask(TOY.space, 1)
    study.recording.finish(0, result())
    record = study.best()
    assert record is not None
    return replace(record, value=value)


BEST = a_best(0.8)


@given(st.floats(max_value=1.0, exclude_max=True))
def test_what_is_better_the_greater_ends_at_1(value: float) -> None:
    assert bool(nothing_to_gain("r2", "maximize", value)) == (value >= 1 - 1e-9)
    assert nothing_to_gain("r2", "maximize", 1.0)


@pytest.mark.parametrize("metric", ["accuracy", "f1:spam"])
def test_all_of_some_examples_right_leaves_something_to_gain(metric: str) -> None:
    assert nothing_to_gain(metric, "maximize", 1.0) == ""


@given(st.floats(min_value=5e-324))
def test_an_error_ends_at_0(value: float) -> None:
    assert not nothing_to_gain("rmse", "minimize", value)
    assert nothing_to_gain("rmse", "minimize", 0.0) == "nothing is left to gain: rmse is 0"


def test_in_words() -> None:
    assert nothing_to_gain("r2", "maximize", 1 - 1e-12) == "nothing is left to gain: r2 is 1"
    assert nothing_to_gain("r2", "maximize", math.nan) == ""


@pytest.mark.parametrize(
    ("metric", "direction", "stop_at", "ci95", "groups", "text"),
    [
        ("accuracy", "maximize", 0.92, (0.93, 0.99), None, "accuracy at least 93.00 %, above 92.00 %"),
        ("accuracy", "maximize", 0.92, (0.92, 0.99), None, ""),
        ("accuracy", "maximize", 0.92, (0.93, 0.99), (0.91, 0.99), ""),
        (
            "accuracy",
            "maximize",
            0.92,
            (0.91, 0.99),
            (0.93, 0.99),
            "accuracy at least 93.00 % on groups, above 92.00 %",
        ),
        ("rmse", "minimize", 2.0, (1.0, 1.9), None, "rmse at most 1.9, below 2"),
        ("rmse", "minimize", 2.0, (1.0, 2.1), None, ""),
        ("accuracy", "maximize", 0.5, None, None, ""),
    ],
)
def test_a_target_is_passed_by_the_whole_interval(
    metric: str,
    direction: str,
    stop_at: float,
    ci95: tuple[float, float] | None,
    groups: tuple[float, float] | None,
    text: str,
) -> None:
    settings = replace(SETTINGS, metric=metric, direction=direction, stop_at=stop_at)
    best = replace(BEST, value=0.95, ci95=ci95, groups_ci95=groups)
    assert goal_reached(settings, best) == (f"target passed: trial 0, {text}" if text else "")
    # A task's own target ends nothing.
    assert goal_reached(replace(settings, stop_at=None, target=0.1), best) == ""


@pytest.mark.parametrize(
    ("metric", "direction", "value", "fits"),
    [
        ("accuracy", "maximize", 0.92, True),
        ("accuracy", "maximize", 0.0, True),
        ("accuracy", "maximize", 1.0, False),
        ("accuracy", "maximize", 92.0, False),
        ("accuracy", "maximize", -0.1, False),
        ("r2", "maximize", -5.0, True),
        ("r2", "maximize", 1.0, False),
        ("rmse", "minimize", 3.0, True),
        ("rmse", "minimize", 0.0, False),
    ],
)
def test_a_target_can_be_passed(metric: str, direction: str, value: float, fits: bool) -> None:
    check_target(metric, direction, None)
    if fits:
        check_target(metric, direction, value)
    else:
        with pytest.raises(InputError, match=f"^--target {value:g} can't be passed: {metric} goes from"):
            check_target(metric, direction, value)


def test_a_target_is_kept_and_can_be_moved(url: str) -> None:
    study = a_study(url)
    assert status_of(study)["stop_at"] is None
    study.extend(replace(study.settings, trials=5, timeout=None, stop_at=0.9))
    assert status_of(Study.open("s", url))["stop_at"] == 0.9


@pytest.mark.parametrize(
    ("trials", "ended", "best", "why"),
    [
        (5, 4, BEST, ""),
        (5, 5, BEST, "all of its 5 trials have ended"),
        (5, 6, None, "all of its 5 trials have ended"),
        (None, 1000, BEST, ""),
        (None, 1, replace(BEST, value=1.0), ""),
        (5, 5, replace(BEST, value=1.0), "all of its 5 trials have ended"),
        (5, 1, replace(BEST, value=None), ""),
        (5, 1, replace(BEST, value=1.0, state="interrupted"), ""),
    ],
)
def test_a_study_is_done(trials: int | None, ended: int, best: TrialRecord | None, why: str) -> None:
    assert why_done(replace(SETTINGS, trials=trials), ended, best) == why
    assert goal_reached(SETTINGS, None) == ""
