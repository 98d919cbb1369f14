"""Whatever one trial runs into, it ends with a reason that fits, and the study goes on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch

from search_spaces import Choice, InputError
from studies import Plan, Study, driver, leaderboard_rows, open_storage, to_json
from training import LaneGroup
from training.lanes import group as lanes
from training.lanes.results import EpochResult
from training.models.spec import needs_no_less
from training.scoring.objectives import Accuracy

from .settings import settings_for
from .toy_plans import EPOCHS, HEADS, plan, run_inline, use_toy_backbone


@pytest.fixture(autouse=True)
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)


def study_of(url: str, what: Plan) -> Study:
    return Study.create("s", url, settings_for(what.task, epochs=EPOCHS), what.task.recipe)


def run(url: str, what: Plan) -> Study:
    study = Study.open("s", url, to_run=True)
    list(run_inline(study, what, lambda _progress: None))
    return study


@pytest.mark.parametrize("broken_from", [1, 3])
def test_a_metric_that_is_no_number_ends_the_trial_and_is_never_recorded(
    url: str, monkeypatch: pytest.MonkeyPatch, broken_from: int
) -> None:
    what = plan(HEADS, 3, 4)
    record = LaneGroup._record

    def undefined(self: LaneGroup, lane: lanes.Lane, *arguments: object) -> EpochResult:
        result = record(self, lane, *arguments)  # type: ignore[arg-type]
        if lane.key == 1 and result.epoch >= broken_from:
            lane.curve[-1] = result = replace(result, value=math.nan)
        return result

    monkeypatch.setattr(LaneGroup, "_record", undefined)
    study_of(url, what)
    records = run(url, what).records()
    assert [r.state for r in records] == ["complete", "infeasible", "complete", "complete"]
    broken = records[1]
    assert broken.reason == f"accuracy is not defined in epoch {broken_from}"
    assert (broken.epochs, broken.ci95, broken.n) == (broken_from - 1, None, 0)
    assert broken.value == (broken.curve[-1][1] if broken.curve else None)
    json.loads(to_json(leaderboard_rows(records)), parse_constant=lambda name: pytest.fail(name))


def test_of_a_trial_that_diverged_all_is_of_the_last_finite_epoch(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what = plan(HEADS, 1, 1)
    record = LaneGroup._record

    def diverges(self: LaneGroup, lane: lanes.Lane, losses: dict[int, float], scores: object, *rest: object) -> object:
        if len(lane.curve) == 2:
            losses = {lane.key: math.inf}
            scores = {lane.key: (math.inf, torch.full((24,), 7), torch.zeros(24, 3))}
        return record(self, lane, losses, scores, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LaneGroup, "_record", diverges)
    study_of(url, what)
    (trial,) = run(url, what).records()
    assert (trial.state, trial.reason) == ("infeasible", "diverged: the loss is not finite in epoch 3")
    assert trial.epochs == 2
    assert trial.value == trial.curve[-1][1]
    expected = Accuracy().estimate(torch.arange(24) < round(24 * (trial.value or 0)), torch.ones(24))
    assert (trial.n, trial.ci95) == (24, expected.ci95)


@pytest.mark.parametrize(
    "problem", [ValueError("no"), InputError("no"), RuntimeError("CUDA out of memory"), MemoryError()]
)
def test_a_lane_that_cannot_join_leaves_no_trace_in_the_group(
    url: str, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    what = plan(HEADS, 3, 5)
    undisturbed = str(Path(url).with_name("undisturbed.log"))
    study_of(undisturbed, what)
    expected = run(undisturbed, what).records()
    place = LaneGroup._place

    def breaks(self: LaneGroup, lane: lanes.Lane, *arguments: object) -> None:
        place(self, lane, *arguments)  # type: ignore[arg-type]
        if lane.key == 1:
            raise problem

    monkeypatch.setattr(LaneGroup, "_place", breaks)
    study_of(url, what)
    records = run(url, what).records()
    assert records[1].state == ("infeasible" if "memory" in repr(problem).lower() else "failed")
    assert records[1].reason
    assert {record.state for record in records if record.number != 1} == {"complete"}
    assert records[0].curve == expected[0].curve


@pytest.mark.parametrize("problem", [ValueError("no"), MemoryError()])
def test_a_group_that_breaks_after_one_of_its_trials_has_ended_goes_on(
    url: str, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """The first lane is given up after its first epoch; later memory is short for the others together, not alone."""
    train, record = LaneGroup.train_epoch, LaneGroup._record

    def breaks(self: LaneGroup, *arguments: object, **options: object) -> object:
        if self.epoch == 2 and len(self) > 1:
            raise problem
        return train(self, *arguments, **options)  # type: ignore[arg-type]

    def undefined(self: LaneGroup, lane: lanes.Lane, *arguments: object) -> EpochResult:
        result = record(self, lane, *arguments)  # type: ignore[arg-type]
        if lane.key == 0:
            lane.curve[-1] = result = replace(result, value=math.nan)
        return result

    monkeypatch.setattr(LaneGroup, "train_epoch", breaks)
    monkeypatch.setattr(LaneGroup, "_record", undefined)
    what = plan(HEADS, 3, 3)
    study_of(url, what)
    records = run(url, what).records()
    assert [record.state for record in records] == ["infeasible", "complete", "complete"]
    assert [record.group for record in records] == [0, 0, 0]


def test_an_enqueued_trial_of_another_structure_waits_for_its_own_group(url: str) -> None:
    """It can't join the lanes of the recipe, and must not end the study."""
    what = plan(HEADS, 3, 6)
    study_of(url, what)
    theirs = optuna.load_study(study_name="s", storage=open_storage(url))
    theirs.enqueue_trial(HEADS.recipe | {"batch_size": 24})
    theirs.enqueue_trial(HEADS.recipe | {"batch_size": 24, "dropout": 0.5})
    theirs.enqueue_trial({"dropout": 0.25})
    records = run(url, what).records()
    assert [record.state for record in records] == ["complete"] * 6
    assert [record.config["batch_size"] for record in records[:3]] == [16, 24, 24]
    assert [record.group for record in records[:4]] == [0, 1, 1, 3]
    assert records[3].config["dropout"] == 0.25


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_trial_that_takes_too_long_ends_after_its_epoch_and_is_not_tried_again(url: str, lanes: int) -> None:
    study = Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)
    what = replace(plan(HEADS, lanes, 4), trial_timeout=0.0)
    outcomes = list(run_inline(study, what, lambda _progress: None))
    assert [(o.result.state, len(o.result.curve)) for o in outcomes] == [("infeasible", 1)] * 4
    assert {record.reason for record in study.records()} == {"trained for longer than --trial-timeout 0 s"}
    assert study.best() is None
    # The last epoch is worth its time.
    study = Study.create("t", url, settings_for(HEADS, epochs=1), HEADS.recipe)
    outcomes = list(run_inline(study, replace(what, epochs=1), lambda _progress: None))
    assert [o.result.state for o in outcomes] == ["complete"] * 4


def test_a_structure_that_ran_out_of_memory_is_not_trained_again_at_that_size(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 24 are too large: one trial finds that out, and the others end with it."""
    trained: list[int] = []
    train = LaneGroup.train_epoch

    def limited(self: LaneGroup, *arguments: object, **options: object) -> object:
        trained.append(self.structure.batch_size)
        if self.structure.batch_size >= 24:
            raise MemoryError
        return train(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LaneGroup, "train_epoch", limited)
    what = plan(replace(HEADS, space=HEADS.space.replace(batch_size=Choice(16, 24, 32))), 1, 12)
    study = Study.create("s", url, settings_for(what.task, epochs=EPOCHS), what.task.recipe)
    list(run_inline(study, what, lambda _progress: None))
    records = Study.open("s", url).records()
    large = [record for record in records if record.config["batch_size"] != 16]
    assert len(large) > 1
    assert {record.state for record in large} == {"infeasible"}
    assert {record.state for record in records if record.config["batch_size"] == 16} == {"complete"}
    tried = [
        r for r in large if r.reason.startswith(f"out of memory with batches of {r.config['batch_size']}: at least")
    ]
    answered = [record for record in large if record not in tried]
    assert answered
    assert all(record.reason.startswith("out of memory: so was trial ") and record.seconds == 0 for record in answered)
    for place, record in enumerate(tried):
        assert not any(needs_no_less(record.config, earlier.config) for earlier in tried[:place])
    assert [size for size in trained if size >= 24] == [record.config["batch_size"] for record in tried]


def test_what_needs_no_less_memory_is_known_from_the_structure_and_the_batches() -> None:
    config = HEADS.recipe
    size = int(config["batch_size"])
    assert needs_no_less(config, config)
    assert needs_no_less(config | {"batch_size": size + 1}, config)
    assert needs_no_less(config | {"learning_rate": 0.5}, config)
    assert not needs_no_less(config | {"batch_size": size - 1}, config)
    assert not needs_no_less(config | {"augmentation": 2}, config)


def test_the_time_of_a_trial_is_not_that_of_the_other_parts_of_its_group(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four trials that can only train one after another, four seconds each."""
    now = 0.0
    train = LaneGroup.train_epoch

    def limited(self: LaneGroup, *arguments: object, **options: object) -> object:
        nonlocal now
        if len(self) > 1:
            raise MemoryError
        now += 1.0
        return train(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LaneGroup, "train_epoch", limited)
    monkeypatch.setattr(driver.time, "monotonic", lambda: now)
    what = replace(plan(HEADS, 4, 4), trial_timeout=4.5)
    study_of(url, what)
    assert [record.state for record in run(url, what).records()] == ["complete"] * 4
    Study.open("s", url).extend(replace(Study.open("s", url).settings, trials=8))
    what = replace(plan(HEADS, 4, 8), trial_timeout=2.5)
    records = run(url, what).records()[4:]
    assert {(record.state, record.epochs) for record in records} == {("infeasible", 3)}
