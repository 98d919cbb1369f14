"""Weights that lie elsewhere than they did when a study was made, and other ones beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import Run
from .photos import tiny_photos

NAME, OTHER = "squeezenet1_1", "mobilenet_v2"


@pytest.mark.parametrize("named", [True, False])
def test_a_study_goes_on_and_is_confirmed_with_weights_that_were_moved(
    run: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr("training.models.weights._in_package", lambda _: None)
    photos = tiny_photos(tmp_path / "photos", train=2, valid=2)
    before, now = tmp_path / "before", tmp_path / "now"
    before.mkdir()
    for file in weights.glob(f"{NAME}*"):
        shutil.copy(file, before)
    fixed = ["resolution=96", "batch_size=16", "unfrozen_stages=0", "augmentation=0"]
    sets = [part for one in fixed + [f"backbone={NAME}"] * named for part in ("--set", one)]
    options = ["--data", photos, "--weights-dir", before, "--epochs", 1, "--study", "s", "--strategy", "plain"]
    code, _, err = run("search", "fruit", "--trials", 1, *options, *sets)
    assert code == 0, err
    before.rename(now)
    for command in (["resume", "s", "--trials", 2], ["confirm", "s", "--seeds", 1]):
        code, _, err = run(*command)
        assert (code != 0) == (command[0] == "resume")  # which keeps where they lie now
        assert code == 0 or "--weights-dir" in err
        # Nothing is fetched where all that the study needs is there, though the task has more backbones.
        for file in weights.glob(f"{OTHER}*"):
            shutil.copy(file, now)
        code, _, err = run(*command, "--weights-dir", now, "--download-weights")
        assert code == 0, err
