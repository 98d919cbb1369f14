"""Where a training run writes: a folder of its own, held while it lasts, and nobody else's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

import pomona
from pomona.checkpoint_folder import HeldFolder
from pomona.training_run import TrainRequest, changed_config, describe, prepare_training
from search_spaces import FRUIT, InputError
from training import load_checkpoint, never_stop

from .conftest import Run

RATE = ("--set", "learning_rate=0.01")


def test_runs_that_start_together_get_folders_of_their_own() -> None:
    prepared = [prepare_training(TrainRequest("bonus", epochs=1, seed=seed), lambda _: None) for seed in range(3)]
    told = [describe(run, run.start(None, None, never_stop)) for run in prepared]
    assert [one["checkpoint"] for one in told] == [f"checkpoints/bonus-{number}" for number in (1, 2, 3)]
    assert [load_checkpoint(Path(one["checkpoint"])).record.seed for one in told] == [0, 1, 2]
    assert not list(Path("checkpoints").glob("*/.*"))


def test_a_folder_that_is_trained_into_is_refused_to_a_second_run(run: Run) -> None:
    first = prepare_training(TrainRequest("bonus", epochs=1, out=Path("best")), lambda _: None)
    code, out, err = run("train", "bonus", "--epochs", 1, *RATE, "--out", "best")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == ("error: another training writes to best: wait for its end, or choose another --out")
    result = first.start(None, None, never_stop)
    assert load_checkpoint(Path("best")).record.value == result.value
    assert [path.name for path in Path("best").iterdir() if path.suffix not in (".json", ".safetensors")] == []


def test_a_lock_file_that_nobody_holds_means_nothing(run: Run) -> None:
    with HeldFolder(Path("best"), "bonus"):
        (lock,) = Path("best").iterdir()
    lock.parent.mkdir()
    lock.touch()
    assert run("train", "bonus", "--epochs", 1, *RATE, "--out", "best")[0] == 0
    assert not lock.exists()


def test_a_folder_in_which_nothing_was_saved_is_removed(run: Run) -> None:
    assert run("train", "bonus", "--epochs", 1, "--set", "learning_rate=100000000")[0] == 1
    assert not Path("checkpoints").exists()
    with pytest.raises(RuntimeError), HeldFolder(Path("a/b"), "bonus"):
        raise RuntimeError
    assert not Path("a").exists()
    Path("kept").mkdir()
    with HeldFolder(Path("kept"), "bonus"):
        pass
    assert list(Path("kept").iterdir()) == []


def test_what_was_put_into_the_folder_meanwhile_stays() -> None:
    with HeldFolder(None, "bonus") as held:
        (held.path / "notes.txt").write_text("mine")
    assert Path("checkpoints/bonus-1/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint.json"])
def test_a_file_of_the_users_is_refused_before_anything_is_trained(run: Run, name: str) -> None:
    Path("own").mkdir()
    (Path("own") / name).write_text('{"mine": 1}')
    code, out, err = run("train", "bonus", "--epochs", 1, *RATE, "--out", "own")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"error: {Path('own') / name} ")
    assert "epoch 1" not in err
    assert [(path.name, path.read_text()) for path in Path("own").iterdir()] == [(name, '{"mine": 1}')]


def test_a_folder_with_other_files_of_the_users_keeps_them(run: Run) -> None:
    own = {Path("own") / name: name for name in ("epoch-best.safetensors", "epoch-0009.safetensors", "photo.jpg")}
    Path("own").mkdir()
    for path, text in own.items():
        path.write_text(text)
    code, out, _ = run("train", "bonus", "--epochs", 2, *RATE, "--out", "own", "--json")
    assert (code, json.loads(out)["checkpoint"]) == (0, "own")
    assert {path: path.read_text() for path in own} == own
    assert {path.name for path in Path("own").iterdir()} == {*own.values(), "checkpoint.safetensors", "checkpoint.json"}


@pytest.mark.parametrize("out", ["file", "file/below", "/dev/null/x", "x" * 300])
def test_a_folder_that_cannot_be_is_one_line(run: Run, out: str) -> None:
    Path("file").write_text("kept")
    code, _, err = run("train", "bonus", "--epochs", 1, *RATE, "--out", out)
    assert code == 1
    assert err.splitlines()[-1].startswith("error: ")
    assert "epoch 1" not in err
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_the_function_for_notebooks_holds_its_folder_too() -> None:
    Path("best").mkdir()
    with FileLock("best/.training.lock"), pytest.raises(InputError, match="another training"):
        pomona.train("bonus", epochs=1, out="best")


def test_what_has_no_meaning_beside_a_changed_value_goes() -> None:
    space = FRUIT.space
    winner = space.validate(FRUIT.recipe | {"augmentation": 2, "views": 8})
    plain = changed_config(space, winner, {"augmentation": 0})
    assert plain == {name: value for name, value in winner.items() if name != "views"} | {"augmentation": 0}
    assert changed_config(space, winner, {}) == winner
    with pytest.raises(InputError, match="views has no meaning"):
        changed_config(space, winner, {"augmentation": 0, "views": 4})
    with pytest.raises(InputError, match="views is missing"):
        changed_config(space, plain, {"augmentation": 2})
