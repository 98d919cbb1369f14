"""Studies of the toy task, and results to end their trials with."""

from __future__ import annotations

from studies import Study
from training import FitResult, State, wilson

from ..toys import TOY
from .settings import settings_for

STRUCTURE = {"batch_size": 16, "unfrozen_stages": 2, "head_width": 8}


def a_study(url: str | None, **options: object) -> Study:
    return Study.create("s", url, settings_for(TOY, **options), TOY.recipe)  # type: ignore[arg-type]


def result(state: State = State.COMPLETE, reason: str = "", right: int = 8) -> FitResult:
    return FitResult(state, reason, right / 10, (), 1.0, 0, estimate=wilson(right / 10, 10))
