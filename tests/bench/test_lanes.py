import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bench import lanes, trial_rate
from training.models.backbones import source_model

from ..pomona.photos import tiny_photos


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name photos and random weights."""
    root = tmp_path_factory.mktemp("lanes")
    (root / "weights").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state = source_model("mobilenet_v2").state_dict()
    safetensors.torch.save_file(state, root / "weights" / "mobilenet_v2.safetensors")
    photos = tiny_photos(root / "photos")
    return ["--data", str(photos), "--weights-dir", str(root / "weights"), "--resolution", "96"]


@pytest.mark.slow
def test_lanes_are_timed_against_one_and_against_torch(
    folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lanes, "LANES", (1, 3))
    monkeypatch.setattr(lanes, "EPOCHS", 1)
    assert lanes.main([*folders, "--rounds", "2", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "lanes.json").read_text())["figures"]
    assert [(row["heads"], row["lanes"]) for row in rows] == [
        (kind, how) for kind in lanes.HEADS for how in (lanes.PLAIN, "1", "3")
    ]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)
    assert (tmp_path / "lanes.md").read_text() == capsys.readouterr().out


@pytest.mark.slow
def test_a_search_is_timed_by_its_parts(folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_rate, "_STEP", 2)
    # The command empties its cache by naming another one: that name goes again with the test.
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    options = ["--trials", "5", "--epochs", "2", "--lanes", "2", "--out", str(tmp_path)]
    assert trial_rate.main([*folders, *options]) == 0
    answer = json.loads((tmp_path / "trials_per_hour.json").read_text())
    assert answer["trials"] == 5
    assert [mark["trials"] for mark in answer["marks"]][-1] == 5
    parts = answer["marks"][-1]["parts"]
    assert parts.keys() == trial_rate.PARTS.keys()
    assert all(seconds > 0 for seconds in parts.values())
    assert sum(parts.values()) - parts["frozen stages (part of it)"] <= answer["seconds"]
    assert "0 to 2" in (tmp_path / "trials_per_hour.md").read_text()


def test_bad_input_is_said_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMONA_CACHE", "unchanged")
    for main in (lanes.main, trial_rate.main):
        assert main(["--data", "nowhere"]) == 1
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
