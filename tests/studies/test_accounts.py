"""Predictions beside what groups took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from search_spaces import Config
from studies.accounts import PREDICTED, Accounts, GroupCost, accuracy_of, costs_of_groups
from studies.records import TrialRecord
from training import EpochResult, Job, Member
from training.lanes.jobs import Epoch


@dataclass(frozen=True)
class Seconds:
    seconds: float
    fixed: float = 0.0


@dataclass
class Model:
    learnt: list[tuple[float, float]] = field(default_factory=list)
    looked: list[Config] = field(default_factory=list)

    def predict(self, config: Config, lanes: int = 1, **_further: Any) -> Seconds:
        return Seconds(10.0 * lanes)

    def learn(self, config: Config, predicted: Any, preparing: float, train: float, **_further: Any) -> None:
        self.learnt.append((preparing, train))

    def look(self, config: Config) -> None:
        self.looked.append(config)


def epoch(number: int, *keys: int, seconds: float = 1.0) -> Epoch:
    return Epoch(number, {key: EpochResult(number, 2, 1.0, 1.0, 0.5, seconds, 10, 0) for key in keys})


def job(*, is_open: bool = True) -> Job:
    return Job((Member(0, {"kind": "a"}),), 0, 2, open=is_open)


def test_each_trial_has_its_share_and_a_whole_group_teaches() -> None:
    model = Model()
    accounts = Accounts(model)
    accounts.begin(0, job(), 100.0)
    accounts.joined(0, [Member(1, {"kind": "a"}), Member(2, {"kind": "a"})])
    for number in (1, 2):
        accounts.trained(0, epoch(number, 0, 1, 2, seconds=1.5))
    accounts.end(0, 120.0, whole=True)
    assert [accounts.of(number) for number in range(4)] == [*([{PREDICTED: 10.0}] * 3), {}]
    # Nine of the twenty seconds were steps.
    assert model.learnt == [(11.0, 9.0)]


@pytest.mark.parametrize("lost", ["a lane left early", "the worker was lost"])
def test_what_did_not_run_to_its_end_teaches_nothing(lost: str) -> None:
    model = Model()
    accounts = Accounts(model)
    accounts.begin(0, job(), 0.0)
    accounts.joined(0, [Member(1, {"kind": "a"})])
    accounts.trained(0, epoch(1, 0, 1))
    accounts.trained(0, epoch(2, *((0,) if lost == "a lane left early" else (0, 1))))
    accounts.end(0, 9.0, whole=lost != "the worker was lost")
    assert model.learnt == []
    assert model.looked == ([{"kind": "a"}] if lost == "a lane left early" else [])


def test_a_group_that_goes_on_is_not_counted() -> None:
    model = Model()
    accounts = Accounts(model)
    accounts.begin(0, job(is_open=False), 0.0)
    accounts.joined(0, [])
    accounts.trained(0, epoch(2, 0))
    accounts.end(0, 9.0, whole=True)
    assert model.learnt == []
    assert accounts.of(0) == {}


def test_without_a_model_nothing_is_predicted() -> None:
    accounts = Accounts()
    accounts.begin(0, job(), 0.0)
    accounts.joined(0, [])
    accounts.end(0, 1.0, whole=True)
    assert accounts.of(0) == {}


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
