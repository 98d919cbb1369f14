"""A driver that was taken for dead and lives: what it says of trials that others took counts no more."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from studies import Study

from .drivers import a_driver, asked, let_beats_grow_old, trials_of
from .small_studies import a_study, result

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def url(database: str) -> str:
    return database


def test_what_a_driver_says_too_late_is_dropped_with_a_note(url: str, caplog: pytest.LogCaptureFixture) -> None:
    a_study(url)
    with a_driver(url, joins=False) as zombie, a_driver(url) as other:
        late, fine = asked(zombie), asked(zombie)
        zombie.recording.report(late.number, 1, 0.5)
        let_beats_grow_old(url, only=late.number)
        retry = asked(other)
        assert retry.config == late.config
        zombie.recording.report_many({late.number: (2, 0.6), fine.number: (1, 0.6)})
        assert zombie.recording.taken == {late.number}
        assert not zombie.recording.finish(late.number, result(right=9))
        assert zombie.recording.finish(fine.number, result())
        assert other.recording.finish(retry.number, result(right=7))
    records = Study.open("s", url).records()
    assert [record.state for record in records] == ["failed", "complete", "complete"]
    assert records[0].curve == ((1, 0.5),)
    assert [record.value for record in records[1:]] == [0.8, 0.7]
    assert "trial 0 was taken for lost" in caplog.text


def test_a_trial_that_was_taken_just_before_its_end_is_dropped(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as zombie, a_driver(url) as other:
        late = asked(zombie)
        let_beats_grow_old(url)
        asked(other)
        assert not zombie.recording.finish(late.number, result())
        assert zombie.ended == 0


def test_a_trial_that_was_taken_while_its_end_was_recorded_is_dropped(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(url)
    with a_driver(url, joins=False) as zombie, a_driver(url) as other:
        late = asked(zombie)
        tell, told = optuna.Study.tell, []

        def too_late(self: optuna.Study, *arguments: Any, **options: Any) -> Any:
            if not told:
                told.append(arguments)
                let_beats_grow_old(url)
                assert asked(other).config == late.config
            return tell(self, *arguments, **options)

        monkeypatch.setattr(optuna.Study, "tell", too_late)
        assert not zombie.recording.finish(late.number, result())
        assert told
        assert zombie.ended == 0
    assert trials_of(url)[late.number].state.name == "FAIL"


def test_a_late_driver_asks_nothing_about_a_trial_that_was_taken(url: str) -> None:
    """Its last epoch is one at which the pruner compares, and keeps that with the trial."""
    a_study(url, pruner="hyperband", epochs=9)
    with a_driver(url, joins=False) as zombie, a_driver(url) as other:
        taken = [asked(zombie).number for _ in range(6)]
        for number in taken:
            zombie.recording.report(number, 1, 0.5)
        let_beats_grow_old(url)
        asked(other, 20)
        zombie.recording.report_many({number: (1, 0.5) for number in taken})
        assert zombie.recording.prune_many(taken) == set()
        with zombie.together():
            zombie.recording.report_many({number: (2, 0.5) for number in taken})
            assert zombie.recording.prune_many(taken) == set()
        assert zombie.recording.taken == set(taken)


def test_a_late_driver_that_answers_a_trial_which_was_taken_goes_on(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as zombie, a_driver(url) as other:
        ended, follower, unnoticed = asked(zombie), asked(zombie), asked(zombie)
        assert zombie.recording.finish(ended.number, result())
        let_beats_grow_old(url)
        asked(other, 20)
        zombie.recording.report(follower.number, 1, 0.5)
        assert zombie.recording.taken == {follower.number}
        for each in (follower, unnoticed):
            zombie.recording.answer(each.number, ended.number)
            assert not zombie.recording.is_open(each.number)
        assert zombie.recording.taken == {follower.number, unnoticed.number}
    assert [trial.state.name for trial in trials_of(url)[:3]] == ["COMPLETE", "FAIL", "FAIL"]
