"""Predictions beside what groups took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from search_spaces import Config
from studies.accounts import PREDICTED, Accounts
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
