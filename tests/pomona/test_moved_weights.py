"""Weights that lie elsewhere than they did when a study was made."""

from __future__ import annotations

import shutil
from pathlib import Path

from .conftest import Run
from .photos import tiny_photos

NAME = "squeezenet1_1"


def test_a_study_goes_on_and_is_confirmed_with_weights_that_were_moved(run: Run, weights: Path, tmp_path: Path) -> None:
    photos = tiny_photos(tmp_path / "photos", train=2, valid=2)
    before, now = tmp_path / "before", tmp_path / "now"
    before.mkdir()
    for file in weights.glob(f"{NAME}*"):
        shutil.copy(file, before)
    fixed = (f"backbone={NAME}", "resolution=96", "batch_size=16", "unfrozen_stages=0", "augmentation=0")
    sets = [part for one in fixed for part in ("--set", one)]
    options = ["--data", photos, "--weights-dir", before, "--epochs", 1, "--study", "s", "--strategy", "plain"]
    code, _, err = run("search", "fruit", "--trials", 1, *options, *sets)
    assert code == 0, err
    before.rename(now)
    for command in (["resume", "s", "--trials", 2], ["confirm", "s", "--seeds", 1]):
        code, _, err = run(*command)
        assert code != 0
        assert "--weights-dir" in err
        code, _, err = run(*command, "--weights-dir", now)
        assert code == 0, err
