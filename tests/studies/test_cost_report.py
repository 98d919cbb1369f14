"""How predictions came out, by groups."""

from __future__ import annotations

import pytest

from studies.cost_report import GroupCost, accuracy_of, costs_of_groups
from studies.records import TrialRecord


def test_how_predictions_came_out() -> None:
    found = accuracy_of([GroupCost("s", 0, 16, predicted, 1.0) for predicted in (1.0, 2.0, 0.9)])
    assert found is not None
    assert (found.groups, found.trials, found.drift) == (3, 48, 1.0)
    assert found.error == pytest.approx(0.1)
    assert accuracy_of([GroupCost("s", 0, 1, 0.0, 1.0)]) is None


def test_groups_that_were_predicted_and_came_to_their_end_count_as_wholes() -> None:
    def trial(number: int, group: int, predicted: float | None, seconds: float, state: str = "complete") -> TrialRecord:
        return TrialRecord(
            *("s", "data", number, state, "", {}, 0.9, 100, None, None, 0, None, 8, seconds, None, 0, 0, "", "", ""),
            group=group,
            predicted_seconds=predicted,
        )

    # Of two that were predicted alike, one went through all of cross-validation.
    together = [trial(0, 0, 2.5, 1.0), trial(1, 0, 2.5, 4.0)]
    (found,) = costs_of_groups([*together, trial(2, 2, None, 2.0), trial(3, 3, 2.0, 1.0, "pruned")])
    assert (found.trials, found.predicted, found.seconds) == (2, 5.0, 5.0)
