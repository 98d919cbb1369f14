"""When a study has nothing left to do, in words. Pure functions of its settings and of what it found."""

from __future__ import annotations

import math

from search_spaces import is_numeric, limits_of

from .records import TrialRecord
from .settings import Settings


def goal_reached(settings: Settings, best: TrialRecord | None) -> str:
    """Why no further trial could help, whatever the budget; empty where one could."""
    if best is None or best.value is None:
        return ""
    return nothing_to_gain(settings.metric, settings.direction, best.value)


def nothing_to_gain(metric: str, direction: str, best: float) -> str:
    """Says so where a value is the best that its metric can have, to rounding; empty where it is not."""
    low, high = limits_of(metric)
    bound = high if direction == "maximize" else low
    if not math.isclose(best, bound, rel_tol=1e-9):
        return ""
    return f"nothing is left to gain: {metric} is {f'{bound:g}' if is_numeric(metric) else f'{100 * bound:g} %'}"


def why_done(settings: Settings, ended: int, best: TrialRecord | None) -> str:
    """Why a run of the study would not begin another trial; empty where it would."""
    if reached := goal_reached(settings, best):
        return reached
    if settings.trials is not None and ended >= settings.trials:
        return f"all of its {settings.trials} trials have ended"
    return ""
