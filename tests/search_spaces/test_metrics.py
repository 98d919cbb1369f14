"""Metrics as plain data: which there are, which way they point, how their values are written."""

from __future__ import annotations

import pytest

from search_spaces import TASKS, InputError, interval_text, is_numeric, positive_class, value_text
from search_spaces.metrics import check_metric


@pytest.mark.parametrize(
    ("metric", "direction", "problem"),
    [
        ("precision", "maximize", "unknown metric 'precision'"),
        ("f1:", "maximize", "unknown metric 'f1:'"),
        ("rmse", "maximize", "rmse is something to minimize"),
        ("accuracy", "minimize", "accuracy is something to maximize"),
        ("f1:spam", "minimize", "f1:spam is something to maximize"),
    ],
)
def test_a_wrong_metric_is_said(metric: str, direction: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        check_metric(metric, direction)


def test_values_are_written_as_people_read_them() -> None:
    assert value_text("accuracy", 0.9179) == "91.79 %"
    assert interval_text("f1:spam", (0.9, 0.95)) == "90.0 to 95.0"
    assert value_text("r2", 0.9999) == "0.999900"
    assert value_text("r2", -2.5e26) == "-2.5e+26"
    assert interval_text("rmse", (0.5, 12345.678)) == "0.5 to 12345.7"


def test_an_f1_is_of_a_class() -> None:
    assert positive_class("f1:a:b") == "a:b"
    assert positive_class("accuracy") is None


def test_tasks_of_numbers_have_no_classes() -> None:
    for task in TASKS:
        assert not (is_numeric(task.metric) and task.classes)
        assert (task.modality == "tabular") == bool(task.columns)
