"""Folders as users have them, through every command that reads photos."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from .conftest import Run

SETS = ("backbone=squeezenet1_1", "resolution=96", "batch_size=16")


@pytest.fixture
def recipe(weights: Path) -> list[object]:
    sets = [part for held in SETS for part in ("--set", held)]
    return ["images", "--recipe", "--weights-dir", weights, *sets, "--epochs", 1, "--out", "best"]


def test_names_that_are_not_utf8_or_hold_control_characters(photos: Path, run: Run, recipe: list[object]) -> None:
    latin, escaping = os.fsdecode(b"caf\xe9"), "a\n\x1b[31m"
    for split in ("train", "valid"):
        for source, label in (("freshapples", latin), ("freshbanana", escaping)):
            shutil.copytree(photos / split / source, Path("photos") / split / label)
            (Path("photos") / split / label / "0.png").rename(Path("photos") / split / label / "\udce9 0\t.png")
    code, _, err = run("train", *recipe, "--data", "photos")
    assert code == 0, err
    code, out, err = run("evaluate", "best", "--figures", "figures")
    assert code == 0, err
    assert r"caf\xe9" in out
    assert r"a\n\x1b[31m" in out
    assert "\x1b[31m" not in out
    assert {mistake["true"] for mistake in json.loads(Path("figures/evaluation.json").read_bytes())["mistakes"]} <= {
        r"caf\xe9",
        r"a\n\x1b[31m",
    }
    code, out, err = run("evaluate", "best", "--data", "photos", "--json")
    assert code == 0, err
    assert json.loads(out)["classes"] == [r"a\n\x1b[31m", r"caf\xe9"]
    assert run("data", "show", "photos", "--out", "x.png", "--resolution", 32)[0] == 0
    code, out, err = run("predict", "best", Path("photos/valid") / latin / "\udce9 0\t.png")
    assert code == 0, err
    assert r"photos/valid/caf\xe9/\xe9 0\t.png" in out


def test_labels_of_a_csv_file_without_class_folders(photos: Path, run: Run, recipe: list[object]) -> None:
    rows = ["File; Class; camera"]
    for label in ("freshapples", "freshbanana"):
        for split in ("train", "valid"):
            for number in range(3):
                name = f"{label}-{split}-{number}.png"
                Path("photos/2024").mkdir(parents=True, exist_ok=True)
                shutil.copy(photos / split / label / f"{number}.png", Path("photos/2024") / name)
                rows.append(f"2024\\{name};{label};mine")
    shutil.copy(photos / "train/freshapples/3.png", "photos/extra.png")
    Path("photos/manifest.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    code, out, err = run("data", "show", "photos", "--out", "x.png", "--resolution", 32)
    assert code == 0, err
    assert out.splitlines()[0].startswith("photos: train 9, valid 3 photos of 2 classes")
    assert "manifest.csv has columns that are not used: 'camera'" in out
    assert "not used, as manifest.csv does not name them: 1 photo, such as 'extra.png'" in out
    code, _, err = run("train", *recipe, "--data", "photos")
    assert code == 0, err
    assert "does not name them: 1 photo" in err
    code, out, err = run("evaluate", "best", "--data", "photos", "--json")
    assert code == 0, err
    assert "does not name them: 1 photo" in err
    assert json.loads(out)["classes"] == ["freshapples", "freshbanana"]


def test_copies_of_training_photos_in_valid_are_said(photos: Path, run: Run, recipe: list[object]) -> None:
    shutil.copytree(photos / "train", "photos/train")
    shutil.copytree(photos / "train", "photos/Val")
    note = "24 of 24 valid photos are equal to photos of train"
    code, _, err = run("train", *recipe, "--data", "photos")
    assert code == 0, err
    assert note in err
    assert note in run("data", "show", "photos", "--out", "x.png", "--resolution", 32)[1]


@pytest.mark.parametrize("command", [["data", "show"], ["data", "show", "images", "--data"]])
def test_a_folder_that_cannot_be_is_one_line(command: list[str], run: Run) -> None:
    Path("loop").symlink_to("loop")
    for folder in ("loop", 300 * "a"):
        code, _, err = run(*command, folder)
        assert code == 1
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
