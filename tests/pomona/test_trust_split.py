"""`--trust-split`, from the command line to the checkpoint and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search_spaces import FRUIT

from .conftest import Run
from .photos import tiny_photos


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """Photos of which each has one altered copy in the other split."""
    folder = tiny_photos(tmp_path / "torn", train=4, valid=4)
    for label in FRUIT.classes:
        for split, other in (("train", "valid"), ("valid", "train")):
            for number, photo in enumerate(sorted((folder / split / label).glob("[0-9].png"))):
                photo.rename(photo.with_name(f"{split}{number}.png"))
                (folder / other / label / f"rotated_by_15_{split}{number}.png").write_bytes(
                    (folder / split / label / f"{split}{number}.png").read_bytes() + b"another"
                )
    return folder


@pytest.mark.parametrize("trust", [False, True])
def test_training_says_what_it_did_and_evaluation_does_the_same(
    run: Run, torn: Path, weights: Path, trust: bool
) -> None:
    sets = ("backbone=squeezenet1_1", "resolution=96", "batch_size=16", "unfrozen_stages=0")
    options = ["--weights-dir", weights, "--epochs", 1, *(part for one in sets for part in ("--set", one))]
    flag = ["--trust-split"] if trust else []
    code, out, err = run("train", "fruit", "--data", torn, "--out", "made", "--json", *options, *flag)
    assert code == 0, err
    trained = json.loads(out)
    cost = "48 of 48 valid photos have a copy in train"
    assert (f"is kept, though {cost}" if trust else f"divided anew by original, as {cost}") in err
    assert trained["n"] == (48 if trust else 20)
    code, out, err = run("evaluate", "made", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == trained["value"]
    code, out, err = run("evaluate", "made", "--data", torn, "--json", *flag)
    assert code == 0, err
    assert cost in err
    assert json.loads(out)["n"] == trained["n"]


@pytest.mark.parametrize("trust", [False, True])
def test_a_worker_with_the_data_elsewhere_trusts_the_split_as_the_study_does(
    run: Run, torn: Path, weights: Path, tmp_path: Path, trust: bool
) -> None:
    sets = ("backbone=squeezenet1_1", "resolution=96", "batch_size=16", "unfrozen_stages=0", "augmentation=0")
    options = ["--weights-dir", weights, "--storage", "s.db"]
    fixed = [part for one in sets for part in ("--set", one)]
    flag = ["--trust-split"] if trust else []
    trials = ["--trials", 1, "--epochs", 1, "--study", "s", "--strategy", "plain"]
    assert run("search", "fruit", "--data", torn, *options, *fixed, *trials, *flag)[0] == 0
    elsewhere = torn.rename(tmp_path / "elsewhere")
    code, _, err = run("worker", "s", "--data", elsewhere, *options)
    assert code == 0, err
    assert "1 of 1 trials are done" in err
