"""`pomona evaluate` and `export` on the data of the training score what was held out, and say what was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pomona
from pomona.cli import main
from pomona.use import export_checkpoint
from search_spaces import IMAGES
from training import open_data
from training.export import export_int8
from training.export import onnx as export

from .conftest import Run


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos/<class>/` without splits: noise with random labels, so that what was learnt by heart shows."""
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("noise") / "photos"
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def best(noise: Path, weights: Path) -> Path:
    out = noise.parent / "best"
    sets = ["backbone=squeezenet1_1", "resolution=96", "batch_size=16", "unfrozen_stages=0"]
    options = ["--data", noise, "--weights-dir", weights, "--epochs", 2, *(part for s in sets for part in ("--set", s))]
    assert main([str(part) for part in ("train", "images", "--recipe", *options, "--out", out)]) == 0
    return out


def told(run: Run, *arguments: object) -> tuple[dict[str, Any], str]:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer, err


def test_a_folder_without_splits_is_scored_as_in_training(run: Run, best: Path, noise: Path) -> None:
    record = pomona.load(best).record
    trained, err = told(run, "evaluate", best)
    assert (trained["value"], trained["n"]) == (record.value, 8)
    assert (trained["n_trained_on"], trained["n_trained_on_left_out"]) == (0, 0)
    assert err == ""
    for split in ([], ["--split", "valid"]):
        again, err = told(run, "evaluate", best, "--data", noise, *split)
        assert again == trained | {"n_trained_on_left_out": 32}
        assert err == f"32 of the 40 examples of '{noise}' were trained on and are left out\n"
    train, err = told(run, "evaluate", best, "--data", noise, "--split", "train")
    assert (train["n"], train["n_trained_on"], train["n_trained_on_left_out"]) == (32, 32, 0)
    assert err == "all 32 examples scored were trained on: they say little about new ones\n"


def test_where_all_was_trained_on_it_is_said_what_to_do(run: Run, best: Path, noise: Path, tmp_path: Path) -> None:
    learnt = pomona.load(best).trained_on
    assert learnt is not None
    assert len(learnt) == 32
    of_training = open_data(noise, IMAGES).at(96).train.names[0]
    (tmp_path / "few" / "b").mkdir(parents=True)
    (tmp_path / "few" / "b" / "copy.png").write_bytes((noise / of_training).read_bytes())
    code, out, err = run("evaluate", best, "--data", "few")
    assert (code, out) == (1, "")
    assert err == (
        "error: all 1 examples of 'few' were trained on: name other data, "
        "or score them all the same with --split train\n"
    )
    assert told(run, "evaluate", best, "--data", "few", "--split", "train")[0]["n"] == 1


def test_what_is_drawn_is_what_was_scored(run: Run, best: Path, noise: Path) -> None:
    answer, _ = told(run, "evaluate", best, "--data", noise, "--figures", "figures")
    drawn = json.loads(Path("figures", "evaluation.json").read_text())
    assert (drawn["n"], drawn["n_trained_on_left_out"]) == (answer["n"], 32)
    held_out = open_data(noise, IMAGES).at(96).valid.names
    assert {mistake["name"] for mistake in drawn["mistakes"]} <= set(held_out)


def test_the_same_in_a_notebook(best: Path, noise: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = pomona.evaluate(best, noise)
    assert found.score.value == pomona.load(best).record.value
    assert (found.score.n, found.n_trained_on, found.n_trained_on_left_out) == (8, 0, 32)
    out, err = capsys.readouterr()
    assert out == ""
    assert "32 of the 40 examples" in err


def test_an_export_needs_no_splits(best: Path, noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, ...]] = []
    monkeypatch.setattr(export, "export_onnx", lambda _checkpoint, _file, split: given.append(split.names))
    monkeypatch.setattr(export_int8, "quantise", lambda _exported, split: given.append(split.names))
    said: list[str] = []
    export_checkpoint(best, Path("best.onnx"), str(noise), int8=True, notify=said.append)
    splits = open_data(noise, IMAGES).at(96)
    assert given == [splits.valid.names, splits.train.names]
    assert ["32 of the 40 examples" in line for line in said] == [True]


BONUS_ROWS = [f"{n % 10},{n % 7},{n % 5},{12 * (n % 10) + 6 * (n % 7) + 2 * (n % 5) + 20}" for n in range(40)]


def write_bonus(file: Path, rows: list[str]) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(["performance,years_of_experience,projects_completed,bonus", *rows]) + "\n")
    return file


def test_a_config_is_not_taken_to_changed_data_without_a_word(run: Run, tmp_path: Path) -> None:
    file = write_bonus(tmp_path / "bonus.csv", BONUS_ROWS)
    study = ["--from-study", "s", "--storage", "j.log"]
    code, _, err = run("search", "bonus", "--data", file, "--trials", 1, "--epochs", 1, "--study", *study[1:])
    assert code == 0, err
    train = ["train", "bonus", *study, "--epochs", 1]

    # The same rows under another name are the same data.
    code, _, err = run(*train, "--data", write_bonus(tmp_path / "moved" / "b.csv", BONUS_ROWS), "--out", "moved-model")
    assert code == 0, err
    assert "other data" not in err
    code, _, err = run(*train, "--out", "first")
    assert code == 0, err

    write_bonus(file, [*BONUS_ROWS, "9,9,9,200"])
    code, out, err = run(*train, "--out", "second")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"error: {file} is no longer the data of study 's'")
    assert "name what to train on with --data" in err
    assert not Path("second").exists()
    with pytest.raises(pomona.InputError, match="no longer the data"):
        pomona.train("bonus", from_study="s", storage="j.log", out="second")

    code, _, err = run(*train, "--data", file, "--out", "second")
    assert code == 0, err
    assert "the config was found on other data: bonus.csv" in err

    # What the model was trained on is known by its rows: those held out, and the one that was added.
    answer, err = told(run, "evaluate", "first")
    assert (answer["n"], answer["n_trained_on"], answer["n_trained_on_left_out"]) == (9, 0, 32)
    assert "is not what it was when the checkpoint was trained on it" in err
    assert "32 of the 41 examples" in err
