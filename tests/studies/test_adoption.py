"""A trial that retries a lost one goes on from what that one saved, and comes to what it would have come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studies import Study
from training import LaneGroup, SaveClock
from training.lanes.saved_lanes import saved_lanes

from .postgres import closed_in_the_end
from .settings import settings_for
from .test_drivers import a_driver, let_beats_grow_old, quiet_watch
from .toy_plans import EPOCHS, HEADS, plan, run_inline, use_toy_backbone

LOST_AFTER = 2


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_toy_backbone(monkeypatch)
    monkeypatch.setattr(SaveClock, "due", lambda _clock: True)
    yield from closed_in_the_end()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "studies.db")


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
