"""When a study has nothing left to do, in words. Pure functions of its settings and of what it found."""

from __future__ import annotations

import math

from search_spaces import InputError, is_numeric, limits_of, value_text
from training.lanes.results import State

from .records import TrialRecord
from .settings import Settings


def goal_reached(settings: Settings, best: TrialRecord | None) -> str:
    """Why no further trial could help, whatever the budget; empty where one could, or the best is not at its end."""
    if best is None or best.value is None or best.state != State.COMPLETE:
        return ""
    if nothing := nothing_to_gain(settings.metric, settings.direction, best.value):
        return nothing
    return "" if settings.stop_at is None else passed(settings.metric, settings.direction, settings.stop_at, best)


def nothing_to_gain(metric: str, direction: str, best: float) -> str:
    """Says so where a value is the best that its metric can have, to rounding; empty where it is not.

    All of some hundred examples right is no such bound: others would not be, and a better model may tell these.
    """
    if not is_numeric(metric):
        return ""
    low, high = limits_of(metric)
    bound = high if direction == "maximize" else low
    if not math.isclose(best, bound, rel_tol=1e-9):
        return ""
    return f"nothing is left to gain: {metric} is {bound:g}"


def interval_to_judge_by(trial: TrialRecord) -> tuple[tuple[float, float] | None, str]:
    """The 95 % interval by which a trial has passed a target or not, and what it is of where that is not examples.

    Examples of one group are no independent samples: where there are groups, the interval is of these.
    """
    return (trial.ci95, "") if trial.groups_ci95 is None else (trial.groups_ci95, " on groups")


def passed(metric: str, direction: str, stop_at: float, best: TrialRecord) -> str:
    """Says so where the 95 % interval of the best trial lies beyond `stop_at`; empty where it does not."""
    interval, of = interval_to_judge_by(best)
    if interval is None:
        return ""
    low, high = interval
    wanted = value_text(metric, stop_at)
    if direction == "maximize" and low > stop_at:
        return f"target passed: trial {best.number}, {metric} at least {value_text(metric, low)}{of}, above {wanted}"
    if direction == "minimize" and high < stop_at:
        return f"target passed: trial {best.number}, {metric} at most {value_text(metric, high)}{of}, below {wanted}"
    return ""


def check_target(metric: str, direction: str, stop_at: float | None) -> None:
    """Raises InputError where no value of the metric could lie beyond it, or every one does."""
    if stop_at is None:
        return
    low, high = limits_of(metric)
    if not (low <= stop_at < high if direction == "maximize" else low < stop_at <= high):
        hint = "" if is_numeric(metric) else " (92 % is 0.92)"
        raise InputError(f"--target {stop_at:g} can't be passed: {metric} goes from {low:g} to {high:g}{hint}")


def why_done(settings: Settings, ended: int, best: TrialRecord | None) -> str:
    """Why a run of the study would not begin another trial; empty where it would."""
    if reached := goal_reached(settings, best):
        return reached
    if settings.trials is not None and ended >= settings.trials:
        return f"all of its {settings.trials} trials have ended"
    return ""
