"""Bad input: one line that says what is wrong, a non-zero exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pomona
from search_spaces import FRUIT, InputError
from training import load_checkpoint

from ..pomona.photos import tiny_photos
from .conftest import Run

Damage = Callable[[Path], object]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def refused(run: Run, *arguments: object, saying: str, folder: Path) -> None:
    before = files_below(folder)
    code, out, err = run(*arguments)
    assert code == 1, err
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0]
    assert saying in lines[0]
    assert "Traceback" not in err
    assert files_below(folder) == before


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Photos that a test may damage."""
    return tiny_photos(tmp_path / "own")


SEARCH = ("search", "fruit", "--set", "backbone=squeezenet1_1", "--set", "resolution=96")


@pytest.mark.parametrize(
    ("damage", "saying"),
    [
        pytest.param(shutil.rmtree, "own", id="no such folder"),
        pytest.param(
            lambda own: [shutil.rmtree(own / "train"), shutil.rmtree(own / "valid")], "own", id="empty folder"
        ),
        pytest.param(
            lambda own: shutil.rmtree(own / "valid" / "rottenapples"), "rottenapples", id="a class missing in one split"
        ),
        pytest.param(
            lambda own: (own / "train" / "freshapples" / "1.png").write_bytes(
                (own / "train" / "freshapples" / "1.png").read_bytes()[:900]
            ),
            "1.png",
            id="a truncated photo",
        ),
        pytest.param(
            lambda own: (own / "valid" / "freshapples" / "notes.txt").write_text("not a photo"),
            "notes.txt",
            id="a file that is no photo",
        ),
        pytest.param(
            lambda own: [shutil.move(own / s / "freshapples", own / s / "pears") for s in ("train", "valid")],
            "pears",
            id="other classes than the task's",
        ),
    ],
)
def test_data(run: Run, own: Path, weights: Path, tmp_path: Path, damage: Damage, saying: str) -> None:
    damage(own)
    refused(run, *SEARCH, "--data", own, "--weights-dir", weights, saying=saying, folder=tmp_path)


def test_unreadable_files_are_left_out_when_asked(run: Run, own: Path, weights: Path) -> None:
    (own / "valid" / "freshapples" / "notes.txt").write_text("not a photo")
    (own / "train" / "freshapples" / "1.png").write_bytes(b"\x89PNG\r\n")
    options = ["--data", own, "--weights-dir", weights, "--trials", 1, "--epochs", 1]
    code, _, err = run(*SEARCH, *options)
    assert code == 1
    assert "2 of 43 files" in err
    code, _, err = run(*SEARCH, *options, "--skip-unreadable")
    assert code == 0, err
    assert "2 unreadable files left out" in err


def test_a_notebook_leaves_unreadable_files_out_where_the_command_line_does(own: Path, weights: Path) -> None:
    (own / "valid" / "freshapples" / "notes.txt").write_text("not a photo")
    fixed = {"backbone": "squeezenet1_1", "resolution": 96, "batch_size": 16, "unfrozen_stages": 0}
    trained = pomona.train(
        "fruit", data=own, weights_dir=weights, fixed=fixed, epochs=1, out="made", skip_unreadable=True
    )
    with pytest.raises(InputError, match="--skip-unreadable"):
        pomona.evaluate("made")
    assert pomona.evaluate("made", skip_unreadable=True).score.value == trained.value


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (("search", "vegetables"), "unknown task 'vegetables'"),
        (("search", "fruit", "--set", "colour=red"), "unknown dimension 'colour'"),
        (("search", "fruit", "--set", "backbone=alexnet"), "alexnet"),
        (("search", "fruit", "--set", "dropout=3"), "dropout must be one of"),
        (("search", "fruit", "--set", "dropout"), "dim=value"),
        (("search", "fruit", "--timeout", "soon"), "45s, 10m"),
        (("search", "fruit", "--trials", "0"), "at least 1"),
        (("search", "fruit", "--pruner", "chance"), "unknown pruner"),
        (("search", "fruit", "--engine", "cloud"), "unknown engine"),
        (("search", "fruit", "--device", "tpu"), "unknown device"),
        (("search", "fruit", "--weights-dir", "nowhere"), "nowhere"),
        (("leaderboard", "s"), "pomona search"),
        (("leaderboard", "s", "--format", "xml"), "unknown format"),
        (("status", "s"), "pomona search"),
        (("resume", "s"), "pomona search"),
        (("dashboard", "s"), "pomona search"),
        (("train", "vegetables"), "unknown task"),
        (("train", "fruit", "--config", "none.json"), "none.json"),
        (("train", "fruit", "--recipe", "--from-study", "s"), "exclude each other"),
        (("evaluate", "nothing"), "no checkpoint in nothing"),
        (("predict", "nothing", "a.jpg"), "no checkpoint in nothing"),
    ],
)
def test_arguments(run: Run, tmp_path: Path, arguments: tuple[str, ...], saying: str) -> None:
    refused(run, *arguments, saying=saying, folder=tmp_path)


def test_weights(run: Run, photos: Path, weights: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    shutil.copy(weights / "squeezenet1_1.safetensors", wrong / "mobilenet_v2.safetensors")
    options = ["--set", "resolution=96", "--data", photos, "--weights-dir", wrong, "--out", "c", "--epochs", 1]
    refused(run, "train", "fruit", *options, "--set", "backbone=mobilenet_v2", saying="mobilenet_v2", folder=tmp_path)
    search = ["search", "fruit", *options[:6], "--set", "backbone=mobilenet_v2"]
    refused(run, *search, saying="mobilenet_v2", folder=tmp_path)
    (wrong / "mobilenet_v2.safetensors").write_bytes(b"nothing that could be weights")
    refused(run, "train", "fruit", *options, "--set", "backbone=mobilenet_v2", saying="mobilenet_v2", folder=tmp_path)


@pytest.mark.parametrize("url", ["nodialect://host/db", "sqlite:////nowhere/at/all.db", "{here}", "{here}/text.log"])
def test_storages(run: Run, small: list[object], tmp_path: Path, url: str) -> None:
    (tmp_path / "text.log").write_text("these are no records\n")
    storage = url.format(here=tmp_path)
    refused(run, "search", "fruit", *small, "--storage", storage, saying="", folder=tmp_path)


@pytest.mark.parametrize("limit", [("--timeout", "20s"), ("--trials", 1)], ids=str)
def test_weights_that_are_damaged_though_others_train_first(
    run: Run, photos: Path, weights: Path, tmp_path: Path, limit: tuple[object, ...]
) -> None:
    folder = shutil.copytree(weights, tmp_path / "weights")
    (folder / "mobilenet_v2.safetensors").write_bytes((folder / "squeezenet1_1.safetensors").read_bytes()[:5000])
    small = ("--set", "resolution=96", "--set", "batch_size=16")
    options = ("--data", photos, "--weights-dir", folder, *small, *limit)
    refused(run, "search", "fruit", *options, saying="mobilenet_v2.safetensors can't be read", folder=tmp_path)


def test_a_study_of_something_else(run: Run, small: list[object], own: Path, tmp_path: Path) -> None:
    options = ["--trials", 1, "--epochs", 1, "--study", "s"]
    assert run("search", "fruit", *small, *options)[0] == 0
    (own / "train" / "freshapples" / "0.png").unlink()
    other_data = [own if part == small[1] else part for part in small]
    refused(run, "search", "fruit", *other_data, *options, saying="another data", folder=tmp_path)
    for change, saying in (
        (["--seed", 5], "--seed"),
        (["--epochs", 2], "--epochs"),
        (["--set", "optimizer=sgd"], "--set"),
    ):
        refused(run, "search", "fruit", *small, *options, *change, saying=f"another {saying}", folder=tmp_path)
    refused(run, "leaderboard", "t", saying="there is s", folder=tmp_path)


def test_a_config_outside_the_space(run: Run, small: list[object], tmp_path: Path) -> None:
    for config, saying in (
        (FRUIT.recipe | {"learning_rate": 7}, "learning_rate"),
        (FRUIT.recipe | {"colour": 1}, "unknown dimension 'colour'"),
        ({"dropout": 0.1}, "missing"),
        ([1, 2], "one JSON object"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        refused(run, "train", "fruit", "--config", "config.json", "--data", small[1], saying=saying, folder=tmp_path)
    (tmp_path / "config.json").write_text("{")
    refused(run, "train", "fruit", "--config", "config.json", saying="not JSON", folder=tmp_path)


def test_checkpoints(run: Run, small: list[object], photos: Path, own: Path, tmp_path: Path) -> None:
    assert run("train", "fruit", "--recipe", *small, "--epochs", 1, "--out", "c")[0] == 0
    again = ("train", "fruit", "--recipe", *small, "--epochs", 1, "--out", "c")
    refused(run, *again, saying="finished checkpoint", folder=tmp_path)
    shutil.move(own / "valid" / "freshapples", own / "valid" / "pears")
    refused(run, "evaluate", "c", "--data", own, saying="pears", folder=tmp_path)
    refused(run, "evaluate", "c", "--split", "exam", saying="exam", folder=tmp_path)
    refused(run, "evaluate", "c", "--split", "test", saying="test", folder=tmp_path)
    refused(run, "predict", "c", "nothing.jpg", saying="nothing.jpg", folder=tmp_path)
    tensors = next((tmp_path / "c").glob("*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:5000])
    refused(run, "predict", "c", photos / "valid" / "freshapples" / "0.png", saying="is damaged", folder=tmp_path)


@pytest.mark.slow
def test_a_full_disk_leaves_the_previous_checkpoint_whole(run: Run, small: list[object], tmp_path: Path) -> None:
    """The second checkpoint is larger than files may be: what a full disk does, without one."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "from pomona.cli import main\n"
        "from training import SaveClock\n"
        "SaveClock.due = lambda clock: True\n"  # each epoch is saved, however short
        "sys.exit(main(sys.argv[2:]))"
    )
    # While the head trains, 3 MB are enough; with the optimizer's state of five stages they are not.
    sets = ["--set", "head_width=0", "--set", "fine_tune_share=0.5"]
    command = [sys.executable, "-c", code, 4_000_000, "train", "fruit", "--recipe", *small, *sets, "--epochs", 4]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path / "c")], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no room left to write")
    assert "Traceback" not in done.stderr
    record = load_checkpoint(tmp_path / "c").record
    assert record.epoch == 2
    assert not [name for name in files_below(tmp_path / "c") if name.startswith(".")]


def test_paths_that_cannot_be_looked_at_are_told_in_a_line(run: Run, tmp_path: Path) -> None:
    long = "x" * 300
    for arguments in (
        ("train", "bonus", "--data", f"{long}.csv", "--out", "best"),
        ("train", "sms_spam", "--data", long, "--out", "best"),
        ("evaluate", long),
        ("predict", long, "a.csv"),
        ("evaluate", "best", "--figures", long),
        ("data", "show", "fruit", "--out", f"{long}.png"),
    ):
        refused(run, *arguments, saying="x" * 60, folder=tmp_path)
