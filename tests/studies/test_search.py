from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_spaces import InputError
from studies.plan import default_budget
from studies.search import _same_or_error

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
        ({"seed": 7}, "--seed"),
        ({"epochs": 9}, "--epochs"),
        ({"pruner": "median"}, "--pruner"),
        ({"strategy": "plain"}, "--strategy"),
    ],
)
def test_a_study_made_for_something_else_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=f"another {named}"):
        _same_or_error(SETTINGS, replace(SETTINGS, **change), "s")  # type: ignore[arg-type]


def test_a_study_goes_on_with_more_trials_and_time() -> None:
    _same_or_error(SETTINGS, replace(SETTINGS, trials=99, timeout=5.0, command="other"), "s")


def test_the_default_budget_grows_with_the_machine() -> None:
    cpu, larger = (default_budget(torch.device("cpu"), threads) for threads in (2, 16))
    gpu = default_budget(torch.device("cuda"), 2)
    assert cpu.trials < larger.trials
    assert cpu.trials < gpu.trials
    assert all(budget.timeout is not None for budget in (cpu, larger, gpu))
