"""Trials that have not ended while nobody runs their study: shown with what they came to, never as running."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Task
from studies import Interrupted, Plan, Progress, Study, confirmation, leaderboard_rows, status_of
from studies.proposals import Proposal
from studies.recording import Recording
from studies.records import SEED
from studies.running import Running
from training import SaveClock, fit
from training.machine.files import atomic_write_bytes

from ..toys import TOY, toy_backbone, toy_splits
from .settings import settings_for
from .small_studies import a_study, result
from .toy_plans import EPOCHS, HEADS, STAGES, plan, run_inline, use_toy_backbone


@pytest.fixture(autouse=True)
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)


def asked(study: Study) -> Proposal:
    proposal = study.ask(TOY.space, 10)
    assert proposal is not None
    return proposal


def stopped_after(url: str, task: Task, epochs: float, *, lanes: int = 1, trials: int = 1) -> Study:
    """A study whose first trials were stopped when so many epochs of theirs were done, all together."""
    study = Study.create("s", url, settings_for(task, epochs=EPOCHS), task.recipe)

    def watch(progress: Progress) -> None:
        if progress.done * EPOCHS > epochs:
            raise Interrupted("by the user")

    with pytest.raises(Interrupted), study.running():
        for _ in run_inline(study, plan(task, lanes, trials), watch):
            pass
    return Study.open("s", url)


def went_on(url: str, what: Plan) -> Study:
    study = Study.open("s", url, to_run=True)
    with study.running():
        for _ in run_inline(study, what, lambda _progress: None):
            pass
    return study


@pytest.mark.parametrize("epochs", [1, 2, 3])
@pytest.mark.parametrize("task", [STAGES, HEADS], ids=["stages", "heads"])
def test_one_that_was_stopped_has_the_value_of_its_last_whole_epoch_with_its_interval(
    tmp_path: Path, task: Task, epochs: int
) -> None:
    stopped = stopped_after(str(tmp_path / "a.log"), task, epochs + 0.4)
    (record,) = stopped.records()
    whole = Study.create("s", str(tmp_path / "b.log"), settings_for(task, epochs=EPOCHS), task.recipe)
    went_on(str(tmp_path / "b.log"), plan(task, 1, 1))
    (expected,) = whole.records()
    assert (record.state, record.epochs) == ("interrupted", epochs)
    assert record.reason == f"interrupted after {epochs} of {EPOCHS} epochs"
    assert record.value == expected.curve[epochs - 1][1]
    assert record.curve == expected.curve[:epochs]
    assert record.n == expected.n > 0
    assert record.ci95 is not None
    assert record.ci95[0] <= record.value <= record.ci95[1]
    assert (record.parameters, record.weights, record.engine) == (
        expected.parameters,
        expected.weights,
        expected.engine,
    )
    assert record.seconds > 0
    assert stopped.best() == stopped.trial(0) == record
    assert stopped.counts() == {"interrupted": 1}
    status = status_of(stopped)
    assert (status["running"], status["states"]) == (False, {"interrupted": 1})
    assert (status["best"]["state"], status["best"]["epochs"], status["best"]["n"]) == ("interrupted", epochs, record.n)


def test_all_lanes_of_a_group_are_shown_and_the_best_of_them_is_the_best(url: str) -> None:
    stopped = stopped_after(url, HEADS, 3 * 2.4, lanes=3, trials=3)
    records = stopped.records()
    assert [record.state for record in records] == ["interrupted"] * 3
    assert {record.epochs for record in records} == {2}
    best = stopped.best()
    assert best is not None
    assert best.value == max(record.value for record in records if record.value is not None)
    assert [row["rank"] for row in leaderboard_rows(records)] == [1, 2, 3]


def test_while_somebody_runs_the_study_they_are_running(url: str) -> None:
    study = stopped_after(url, STAGES, 1.4)
    with Study.open("s", url, to_run=True).running():
        (record,) = study.records()
        assert (record.state, record.reason) == ("running", "under way, 1 epochs done")
        assert study.counts() == {"running": 1}
        assert study.best() is None
        assert status_of(study)["states"] == {"running": 1}
    assert study.counts() == {"interrupted": 1}


def test_whoever_runs_the_study_does_not_ask_the_lock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = a_study(url)
    with study.running():
        asked(study)
        monkeypatch.setattr(Running, "_lock", lambda _self: pytest.fail("asked"))
        assert study.is_running()
        assert study.counts() == {"running": 1}


def test_one_without_a_whole_epoch_has_no_value(url: str) -> None:
    study = stopped_after(url, STAGES, 0.4)
    (record,) = study.records()
    assert (record.state, record.value, record.n, record.epochs) == ("interrupted", None, 0, 0)
    assert record.reason == "interrupted before its first epoch ended"
    assert study.best() is None
    assert study.saved_state(0) is None
    (row,) = leaderboard_rows([record])
    assert row["rank"] is None


def test_a_study_that_goes_on_comes_to_the_same_end_and_none_is_interrupted(tmp_path: Path) -> None:
    stopped = stopped_after(str(tmp_path / "a.log"), STAGES, 1.4)
    assert stopped.saved_state(0) is not None  # only reads
    went_on(str(tmp_path / "a.log"), plan(STAGES, 1, 2))
    Study.create("s", str(tmp_path / "b.log"), settings_for(STAGES, epochs=EPOCHS), STAGES.recipe)
    expected = went_on(str(tmp_path / "b.log"), plan(STAGES, 1, 2))
    records, others = stopped.records(), expected.records()
    assert [(r.state, r.value, r.ci95, r.curve) for r in records] == [
        (r.state, r.value, r.ci95, r.curve) for r in others
    ]


# --- after a kill: nothing but what the storage holds, and what was saved last


def killed(url: str, values: list[float]) -> Study:
    study = a_study(url)
    number = asked(study).number
    for epoch, value in enumerate(values, start=1):
        study.recording.report(number, epoch, value)
    return Study.open("s", url)


def test_after_a_kill_the_value_is_the_one_that_was_reported_last(url: str) -> None:
    study = killed(url, [0.5, 0.75])
    (record,) = study.records()
    assert record.state == "interrupted"
    assert (record.value, record.n, record.ci95, record.epochs) == (0.75, 0, None, 2)
    assert study.best() == record
    assert study.saved_state(0) is None


def test_a_metric_that_was_not_defined_is_no_value(url: str) -> None:
    (record,) = killed(url, [math.nan]).records()
    assert (record.state, record.value) == ("interrupted", None)


def test_after_a_kill_the_state_is_the_one_that_was_saved_last(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SaveClock, "due", lambda _clock: True)
    study = Study.create("s", url, settings_for(STAGES, epochs=EPOCHS), STAGES.recipe)
    outcomes = run_inline(study, plan(STAGES, 1, 1), lambda _progress: None)
    seen: list[tuple[int, str, int]] = []

    def report_many(*_: object) -> None:
        state = Study.open("s", url).saved_state(0)
        seen.append((len(study.records()[0].curve), study.records()[0].state, 0 if state is None else len(state.curve)))

    with monkeypatch.context() as patched:
        patched.setattr(Recording, "report_many", report_many)
        for _ in outcomes:
            pass
    # At each end of an epoch, before it is recorded; the epoch itself is on the disk, and the last never is.
    assert seen == [(0, "interrupted", epoch) for epoch in (1, 2, 3, 3)]


def test_a_state_that_is_damaged_is_none_at_all_and_the_leaderboard_does_not_mind(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = stopped_after(url, STAGES, 2.4)
    (path,) = study.trial_folder(0).rglob("*.safetensors")
    data = path.read_bytes()
    atomic_write_bytes(path, data[:-100] + bytes(100))
    assert study.saved_state(0) is None
    assert "damaged" in caplog.text
    atomic_write_bytes(path, b"{" + data[1:])
    (record,) = study.records()
    assert (record.state, record.epochs, record.n, record.ci95) == ("interrupted", 2, 0, None)


def test_the_state_goes_on_to_the_last_digit(tmp_path: Path) -> None:
    state = stopped_after(str(tmp_path / "a.log"), STAGES, 2.4).saved_state(0)
    assert state is not None
    options = {"epochs": EPOCHS, "backbones": toy_backbone}
    whole = fit(STAGES, STAGES.recipe, toy_splits(), **options)  # type: ignore[arg-type]
    gone_on = fit(STAGES, STAGES.recipe, toy_splits(), start=state, **options)  # type: ignore[arg-type]
    assert [(e.loss, e.valid_loss, e.value) for e in gone_on.curve] == [
        (e.loss, e.valid_loss, e.value) for e in whole.curve
    ]
    assert (gone_on.state, gone_on.predictions) == (whole.state, whole.predictions)


# --- which is best


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(("value", "wins"), [(0.9, "more"), (0.8, "equal"), (0.7, "less")])
def test_an_interrupted_one_is_the_best_where_it_is_better_than_all_that_ran_to_their_ends(
    url: str, direction: str, value: float, wins: str
) -> None:
    settings = replace(settings_for(TOY), direction=direction)
    study = Study.create("s", url, settings, TOY.recipe)
    study.recording.finish(asked(study).number, result(right=8))
    number = asked(study).number
    study.recording.report(number, 1, value)
    best = study.best()
    assert best is not None
    interrupted = wins == ("more" if direction == "maximize" else "less")
    assert best.number == (number if interrupted else 0)
    rows = leaderboard_rows(study.records(), direction=direction)
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[0]["number"] == best.number


def test_what_others_report_of_a_trial_that_they_began_is_no_value(url: str) -> None:
    study = a_study(url)
    theirs = study._study.ask()
    theirs.report(0.99, 1)
    assert SEED not in theirs.user_attrs
    (record,) = Study.open("s", url).records()
    assert (record.state, record.value) == ("interrupted", None)


def test_only_those_that_ran_to_their_ends_are_confirmed(url: str) -> None:
    study = killed(url, [0.5])
    assert confirmation.runs_to_confirm(study.records(), direction="maximize", seed=0, top=3, seeds=2) == []


def test_an_epoch_that_was_saved_and_not_recorded_counts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the time is up between the two."""
    study = Study.create("s", url, settings_for(STAGES, epochs=EPOCHS), STAGES.recipe)
    report_many = Recording.report_many

    def late(self: Recording, values: Mapping[int, tuple[int, float]]) -> None:
        if values[0][0] == 2:
            raise Interrupted("the time is up")
        report_many(self, values)

    monkeypatch.setattr(Recording, "report_many", late)
    with pytest.raises(Interrupted), study.running():
        list(run_inline(study, plan(STAGES, 1, 1), lambda _progress: None))
    (record,) = Study.open("s", url).records()
    state = study.saved_state(0)
    assert state is not None
    assert (record.epochs, record.value) == (2, state.curve[-1].value)
    assert [epoch for epoch, _ in record.curve] == [1, 2]
    assert record.ci95 is not None
