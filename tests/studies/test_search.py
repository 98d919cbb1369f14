from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from search_spaces import InputError, Part
from studies import SearchRequest
from studies.going_on import same_or_error
from studies.plan import Budget, default_budget
from studies.search import _budget

from ..toys import TOY
from .settings import settings_for

SETTINGS = settings_for(TOY)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"task": "vegetables"}, "task"),
        ({"fingerprint": "other"}, "data"),
        ({"space": "other"}, "search space"),
        ({"fixed": {"dropout": 0.1}}, "--set"),
        ({"fixed": {"dropout": Part(range=(0.1, 0.2))}}, "--set"),
        ({"seed": 7}, "--seed"),
        ({"epochs": 9}, "--epochs"),
        ({"pruner": "median"}, "--pruner"),
        ({"strategy": "rungs"}, "--strategy"),
        ({"sampler": "gp"}, "--sampler"),
    ],
)
def test_a_study_made_for_something_else_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=f"another {named}"):
        same_or_error(SETTINGS, replace(SETTINGS, **change), "s")  # type: ignore[arg-type]


def test_a_study_goes_on_with_more_trials_and_time() -> None:
    same_or_error(SETTINGS, replace(SETTINGS, trials=99, timeout=5.0, command="other"), "s")


def test_the_default_budget_is_a_time() -> None:
    cpu, gpu = (default_budget(torch.device(kind)) for kind in ("cpu", "cuda"))
    assert cpu.trials is None
    assert gpu.trials is None
    assert cpu.timeout == gpu.timeout == 600.0
    assert cpu.epochs < gpu.epochs


@pytest.mark.parametrize(
    ("said", "trials", "timeout"),
    [
        ({}, None, 600.0),
        ({"trials": 3}, 3, None),
        ({"timeout": 5.0}, None, 5.0),
        ({"trials": 3, "timeout": 5.0}, 3, 5.0),
    ],
)
def test_each_limit_alone_is_the_only_one(said: dict[str, Any], trials: int | None, timeout: float | None) -> None:
    budget = _budget(SearchRequest("toy", **said), torch.device("cpu"))
    assert (budget.trials, budget.timeout) == (trials, timeout)


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(12, 3, None), "12 trials of 3 epochs"),
        (Budget(12, 3, 60.0), "12 trials of 3 epochs, at most 60 s"),
        (Budget(None, 3, 600.0), "trials of 3 epochs for 10 min"),
        (Budget(None, 3, None), "trials of 3 epochs"),
        (Budget(None, 3, None, 8.0), "trials of 3 epochs, at most 8 GPU hours"),
        (Budget(12, 3, 60.0, 0.5), "12 trials of 3 epochs, at most 60 s, at most 0.5 GPU hours"),
    ],
)
def test_a_budget_in_words(budget: Budget, text: str) -> None:
    assert str(budget) == text
