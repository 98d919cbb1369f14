"""A stop is looked for wherever training works, and loses no more than an epoch."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config
from training import EpochResult, FitResult, Prefixes, PrefixStore, State, fit, load_checkpoint
from training.data import scan, splits_for
from training.machine.interrupts import SaveClock, never_stop

from ...toys import TOY, toy_backbone, toy_splits
from ..data.folders import TWO_SPLITS, write_folder

HEAD = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0, "views": 2})
TUNED = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 1, "views": 2})
FRESH = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 1, "views": 0})
EPOCHS = 3


class Checks:
    """Counts the checks, and stops at the `last` one."""

    def __init__(self, last: int | None = None) -> None:
        self.count = 0
        self.last = last

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.last:
            raise KeyboardInterrupt


def train(
    config: Config, folder: Path, check_stop: Callable[[], None] = never_stop, out: Path | None = None
) -> FitResult:
    store = PrefixStore(folder / "prefixes", disk_limit=2**30, memory_limit=2**28)
    prefixes = Prefixes(backbones=toy_backbone, store=store, check_stop=check_stop)
    resume = out if out is not None and out.exists() else None
    return fit(TOY, config, toy_splits(80, 40), epochs=EPOCHS, prefixes=prefixes, checkpoint_to=out, resume_from=resume)


def losses(result: FitResult) -> list[tuple[float, float, float]]:
    return [(epoch.loss, epoch.valid_loss, epoch.value) for epoch in result.curve]


def test_a_prefix_is_computed_with_a_check_before_every_chunk(tmp_path: Path) -> None:
    first, second = Checks(), Checks()
    train(HEAD, tmp_path, first)
    train(HEAD, tmp_path, second)
    # Two views of 80 images and the 40 of validation, in chunks of 32. One a scoring.
    assert first.count - second.count == 2 * 3 + 2
    assert second.count == EPOCHS


def test_a_check_comes_with_every_batch_that_photos_go_through(tmp_path: Path) -> None:
    checks = Checks()
    train(FRESH, tmp_path, checks)
    # Ten batches an epoch through the stages that are frozen. The 40 images of validation go through these in two
    # chunks, and through the last stage for the head in two; each epoch is scored once.
    assert checks.count == 10 * EPOCHS + 2 + 2 + EPOCHS


@pytest.mark.parametrize("config", [HEAD, TUNED, FRESH], ids=["head", "tuned", "fresh"])
def test_stopped_anywhere_again_and_again_it_ends_like_the_undisturbed_run(tmp_path: Path, config: Config) -> None:
    whole = train(config, tmp_path / "whole")
    cut = tmp_path / "cut"
    # What was computed of a prefix is kept, and so is every whole epoch.
    for last in itertools.count(41, 7):
        try:
            result = train(config, cut, Checks(last), cut / "out")
            break
        except KeyboardInterrupt:
            assert last < 400
    assert losses(result) == losses(whole)
    assert result.predictions == whole.predictions


def test_a_prefix_that_is_stopped_again_and_again_is_finished_at_last(tmp_path: Path) -> None:
    """No run computes more than one chunk."""
    runs = 0
    while True:
        runs += 1
        try:
            train(HEAD, tmp_path, Checks(5))
            break
        except KeyboardInterrupt:
            assert runs <= 2 * 3 + 2


def test_a_run_says_whether_pictures_or_kept_features_were_read(tmp_path: Path) -> None:
    head, tuned, fresh = (train(config, tmp_path) for config in (HEAD, TUNED, FRESH))
    assert [[epoch.from_kept for epoch in result.curve] for result in (head, tuned, fresh)] == [
        [True] * EPOCHS,
        [True] * EPOCHS,
        [False] * EPOCHS,
    ]
    for result in (head, tuned):
        assert result.images_per_second is None
        assert result.features_per_second is not None
    assert fresh.features_per_second is None
    assert fresh.images_per_second is not None


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 10)), min_size=1, max_size=5), st.integers(0, 5))
def test_a_speed_is_that_of_the_last_phase(epochs: list[tuple[bool, float]], tuned: int) -> None:
    curve = tuple(
        EpochResult(number, len(epochs), 1.0, 1.0, 0.5, seconds, 100, 2 * (number > len(epochs) - tuned), kept)
        for number, (kept, seconds) in enumerate(epochs, 1)
    )
    result = FitResult(State.COMPLETE, "", 0.5, curve, 1.0, 0)
    last = [epoch for epoch in curve if epoch.trained_stages == curve[-1].trained_stages]
    for kept, speed in ((True, result.features_per_second), (False, result.images_per_second)):
        chosen = [epoch for epoch in last if epoch.from_kept == kept]
        if chosen:
            assert speed == pytest.approx(100 * len(chosen) / sum(epoch.seconds for epoch in chosen))
        else:
            assert speed is None


def test_many_short_epochs_are_not_each_saved_but_the_last_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("training.lanes.fit")
    saved: list[int] = []
    save = module.save_checkpoint
    monkeypatch.setattr(module, "save_checkpoint", lambda *args: saved.append(args[1].epoch) or save(*args))
    monkeypatch.setattr(SaveClock, "due", lambda _clock: False)

    def stop(epoch: EpochResult) -> None:
        if epoch.epoch == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(TOY, HEAD, toy_splits(), epochs=9, backbones=toy_backbone, checkpoint_to=tmp_path, on_epoch=stop)
    assert saved == [1, 5]
    assert load_checkpoint(tmp_path).record.epoch == 5


def test_decoding_is_stopped_between_photos_and_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    photos = scan(write_folder(tmp_path / "photos", TWO_SPLITS))
    checks = 0

    def stop() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        splits_for(photos, 8, stop)
    assert not [path for path in (tmp_path / "cache" / "decoded").iterdir() if path.suffix == ".npy"]
    checks = 3
    splits_for(photos, 8, stop)
    assert checks == 3 + 11  # a check for each photo
