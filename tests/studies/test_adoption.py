"""A trial that retries a lost one goes on from what that one saved, and comes to what it would have come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import Interrupted, Study
from studies.adoption import adopt
from training import LaneGroup, SaveClock
from training.lanes.saved_lanes import saved_lanes

from .drivers import a_driver, let_beats_grow_old, quiet_watch
from .settings import settings_for
from .toy_plans import EPOCHS, HEADS, plan, run_inline, use_toy_backbone

LOST_AFTER = 2


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)
    monkeypatch.setattr(SaveClock, "due", lambda _clock: True)


@pytest.fixture
def url(database: str) -> str:
    return database


def begun(url: str, pruner: str = "none") -> Study:
    return Study.create("s", url, settings_for(HEADS, epochs=EPOCHS, pruner=pruner), HEADS.recipe)


def undisturbed(folder: Path) -> list[tuple[int, float]]:
    study = begun(str(folder / "undisturbed.db"))
    list(run_inline(study, plan(HEADS, 1, 1), quiet_watch))
    return list(study.trial(0).curve)


def lost_and_retried(url: str, monkeypatch: pytest.MonkeyPatch, *, saved: bool = True) -> tuple[Study, int]:
    """The study of a driver that is taken for lost in the middle of its trial, and how many epochs the other trains."""
    epochs: list[int] = []
    train = LaneGroup.train_epoch

    def counted(self: LaneGroup, *arguments: object, **options: object) -> object:
        epochs.append(self.epoch + 1)
        return train(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LaneGroup, "train_epoch", counted)
    by_other: list[int] = []
    study = begun(url, "hyperband")
    with a_driver(url, joins=False) as first, a_driver(url) as other:

        def watch(_progress: object) -> None:
            if by_other or not first._history.running() or len(first.trial(0).curve) < LOST_AFTER:
                return
            by_other.append(0)
            before = len(epochs)
            if not saved:
                for _, path in saved_lanes(first.trial_folder(0), 0):
                    path.unlink()
            let_beats_grow_old(url)
            list(run_inline(other, plan(HEADS, 1, 1), quiet_watch))
            by_other[:] = epochs[before:]

        assert list(run_inline(first, plan(HEADS, 1, 1), watch)) == []
    return study, len(by_other)


def test_a_retry_goes_on_from_what_was_saved(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = undisturbed(tmp_path)
    study, trained = lost_and_retried(url, monkeypatch)
    assert [(record.state, len(record.curve)) for record in study.records()] == [
        ("failed", LOST_AFTER),
        ("complete", EPOCHS),
    ]
    assert list(study.trial(1).curve) == expected
    assert trained == EPOCHS - LOST_AFTER


def test_a_retry_begins_again_where_nothing_was_saved(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(tmp_path)
    study, trained = lost_and_retried(url, monkeypatch, saved=False)
    assert list(study.trial(1).curve) == expected
    assert trained == EPOCHS


def test_what_a_trial_that_was_given_back_saved_stays_until_it_is_retried(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever joins in between removes what nobody needs."""
    expected = undisturbed(tmp_path)
    study = begun(url)

    def stop(_progress: object) -> None:
        if study.counts(running=True) and len(study.trial(0).curve) == LOST_AFTER:
            raise Interrupted("by the user")

    with a_driver(url, joins=False) as first:
        with pytest.raises(Interrupted), a_driver(url) as worker:
            list(run_inline(worker, plan(HEADS, 1, 1), stop))
        assert saved_lanes(first.trial_folder(0), 0)
        with a_driver(url) as again:
            outcomes = list(run_inline(again, plan(HEADS, 1, 1), quiet_watch))
    assert [len(outcome.result.curve) for outcome in outcomes] == [EPOCHS]
    assert list(study.trial(1).curve) == expected
    assert not saved_lanes(study.trial_folder(0), 0)


@pytest.mark.parametrize("saved", [LOST_AFTER, LOST_AFTER + 1, LOST_AFTER + 2])
def test_what_was_saved_counts_up_to_one_epoch_more_than_was_recorded(url: str, saved: int) -> None:
    study = begun(url, "hyperband")
    with study.running():
        lost, new = study.ask(HEADS.space, 2), study.ask(HEADS.space, 2)
        assert lost is not None
        assert new is not None
        for epoch in range(1, LOST_AFTER + 1):
            study.recording.report(lost.number, epoch, epoch / 10)
        place = study.trial_folder(0) / f"{saved:06d}-0"
        place.mkdir(parents=True)
        (place / "00000.safetensors").write_bytes(b"lane")
        trial = study._open[new.number]
        goes_on = adopt(trial, study._study.get_trials()[0], study.trial_folder)
        curve = study.trial(1).curve
        folder = study.trial_folder(1)
    if saved > LOST_AFTER + 1:
        assert (goes_on, curve, saved_lanes(folder, 1)) == (0, (), [])
        return
    assert goes_on == LOST_AFTER
    assert curve == tuple((epoch, epoch / 10) for epoch in range(1, LOST_AFTER + 1))
    assert saved_lanes(folder, 1) == [(saved, folder / f"{saved:06d}-0" / "00001.safetensors")]
    assert saved_lanes(study.trial_folder(0), 0) == []
