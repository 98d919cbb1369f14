"""Several drivers on one study, with trials that train: what one is late with, leaves or waits for."""

from __future__ import annotations

from collections import Counter

import pytest

import studies.drivers
from studies import Outcome, Study
from studies.attempts import TRAINS
from studies.confirmed import runs_to_confirm
from training import State

from .drivers import a_driver, killed, let_beats_grow_old, quiet_watch, trials_of
from .settings import settings_for
from .small_studies import result
from .toy_plans import EPOCHS, HEADS, plan, run_inline, use_toy_backbone

pytestmark = pytest.mark.usefixtures("quiet", "_toy_backbone")


@pytest.fixture
def url(database: str) -> str:
    return database


@pytest.fixture
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)


def test_a_driver_waits_for_the_others_and_does_what_they_left(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)
    with a_driver(url) as other, a_driver(url, joins=False) as study:
        lost = other.ask(HEADS.space, 4)
        assert lost is not None
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                killed(other)
                let_beats_grow_old(url)

        monkeypatch.setattr(studies.drivers, "_LOOK_SECONDS", 0.0)
        study._patience.sleep = sleep
        outcomes: list[Outcome] = list(run_inline(study, plan(HEADS, 1, 4), quiet_watch))
    assert [outcome.result.state for outcome in outcomes] == [State.COMPLETE] * 4
    assert len(slept) == 2
    records = Study.open("s", url).records()
    assert [record.state for record in records] == ["failed", *["complete"] * 4]
    assert records[-1].config == records[0].config


def test_lanes_that_were_taken_leave_their_group_and_the_others_go_on(url: str) -> None:
    Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)
    with a_driver(url, joins=False) as study, a_driver(url) as other:
        taken: list[int] = []

        def watch(_progress: object) -> None:
            trials = study._study.get_trials(deepcopy=False)
            running = [trial for trial in trials if trial.state.name == "RUNNING" and trial.intermediate_values]
            if not taken and len(running) > 1:
                taken.append(running[1].number)
                let_beats_grow_old(url, only=running[1].number)
                retry = other.ask(HEADS.space, 4)
                assert retry is not None
                other.recording.finish(retry.number, result())

        outcomes = list(run_inline(study, plan(HEADS, 3, 4), watch))
    records = Study.open("s", url).records()
    assert taken
    assert taken[0] not in {outcome.number for outcome in outcomes}
    assert records[taken[0]].state == "failed"
    assert Counter(record.state for record in records) == {"complete": 4, "failed": 1}
    assert all(trial.system_attrs[TRAINS] for trial in trials_of(url))


def test_drivers_wait_for_what_is_to_be_retried(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver was killed between failing its last trial and letting it wait once more."""
    Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)
    with a_driver(url) as other, a_driver(url, joins=False) as study:
        lost = other.ask(HEADS.space, 2)
        assert lost is not None
        assert study.drivers is not None

        def sleep(_seconds: float) -> None:
            if other.recording.is_open(lost.number):
                assert other.drivers is not None
                other.drivers._fail(other._open[lost.number]._trial_id)
                killed(other)

        study._patience.sleep = sleep
        outcomes = list(run_inline(study, plan(HEADS, 1, 2), quiet_watch))
    assert sorted(outcome.result.state for outcome in outcomes) == [State.COMPLETE] * 2
    assert [record.state for record in Study.open("s", url).records()] == ["failed", "complete", "complete"]


def test_who_confirms_does_not_wait_for_drivers_that_search(url: str) -> None:
    Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)
    with a_driver(url) as other, a_driver(url, joins=False) as study:
        outcomes = list(run_inline(study, plan(HEADS, 1, 1), quiet_watch))
        assert other.ask(HEADS.space, 9) is not None
        assert study.wait_for_others(9)
        runs = runs_to_confirm(study.records(), direction="maximize", seed=0, top=1, seeds=2)
        with study.confirming(runs):
            assert not study.wait_for_others(9)
            assert study.trials_left(9) is None
            outcomes = list(run_inline(study, plan(HEADS, 1, 9), quiet_watch))
    assert [outcome.result.state for outcome in outcomes] == [State.COMPLETE] * 2
