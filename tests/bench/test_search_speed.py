"""Every method gets one list of configs, and the command that measures them says what is wrong with its options."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import safetensors.torch
from hypothesis import given
from hypothesis import strategies as st

from bench.search_speed.command import main, parse
from bench.search_speed.configs import draw, draw_configs
from bench.search_speed.methods import METHODS
from search_spaces import FRUIT, Choice, InputError, Integer, SearchSpace
from search_spaces.benchmarks import fixed_values
from training.machine import vision

from ..pomona.photos import tiny_photos
from ..strategies import spaces
from .search_speed_examples import FIXED

# --- the list


def test_the_list_is_fixed_by_its_seed_and_begins_with_the_shorter_one() -> None:
    assert draw_configs(FRUIT, FIXED, 24, 0)[:8] == draw_configs(FRUIT, FIXED, 8, 0)
    assert draw_configs(FRUIT, FIXED, 8, 0) != draw_configs(FRUIT, FIXED, 8, 1)


def test_the_list_is_mixed_and_lies_in_the_task() -> None:
    configs = draw_configs(FRUIT, FIXED, 96, 0)
    assert [FRUIT.space.validate(config) for config in configs] == configs
    assert Counter(config["unfrozen_stages"] for config in configs) == dict.fromkeys(range(4), 24)
    assert {config["augmentation"] for config in configs} == {0, 1, 2, 3, 4}
    assert {config["batch_size"] for config in configs} == {16, 32, 64}
    assert {(config["backbone"], config["resolution"]) for config in configs} == {("mobilenet_v2", 128)}
    assert all(1e-3 <= float(config["learning_rate"]) <= 1e-2 for config in configs)


def test_a_dimension_can_be_held() -> None:
    fixed = fixed_values(FRUIT, 96, ["augmentation=3"])
    assert {config["augmentation"] for config in draw_configs(FRUIT, fixed, 10, 0)} == {3}
    # What is given goes before what all benchmarks have.
    assert fixed_values(FRUIT, 96, ["backbone=resnet18"])["backbone"] == "resnet18"
    with pytest.raises(InputError, match="resolution"):
        fixed_values(FRUIT, 97)


@given(spaces(), st.integers(0, 2**20))
def test_what_is_drawn_lies_in_its_space(space: SearchSpace, seed: int) -> None:
    config = draw(space, (seed, 0))
    assert space.validate(config) == config


def test_a_new_dimension_leaves_the_others_as_they_are() -> None:
    before = SearchSpace({"a": Integer(0, 10**6), "b": Choice(*range(100))})
    after = SearchSpace({"a": Integer(0, 10**6), "new": Integer(0, 3), "b": Choice(*range(100))})
    assert draw(after, (4, 2)) | draw(before, (4, 2)) == draw(after, (4, 2))


@pytest.mark.parametrize("log", [False, True])
def test_both_ends_of_a_range_are_drawn(log: bool) -> None:
    space = SearchSpace({"a": Integer(1, 3, log=log)})
    assert {draw(space, (seed,))["a"] for seed in range(60)} == {1, 2, 3}


# --- the command


def test_the_options_are_read() -> None:
    line = "--data d --weights-dir w --methods notebook,ours --peer-configs notebook=8 --blocks 3 --growth 96,384"
    options = parse(line.split())
    assert options.methods == ("notebook", "ours")
    assert options.counts == (("notebook", 8),)
    assert options.blocks == (("notebook", 3), ("ours", 3))
    assert options.growth == (96, 384)
    assert options.command == f"python -m bench.search_speed {line}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--methods nothing", "unknown method"),
        ("--peer-configs ray", "NAME=NUMBER"),
        ("--peer-configs ray=few", "whole numbers"),
        ("--configs 0", "--configs"),
        ("--resolution 97", "resolution"),
        ("--set colour=red", "colour"),
        ("--growth 0", "--growth"),
        ("--results missing.json --blocks x", "NAME=NUMBER"),
    ],
)
def test_a_wrong_option_is_one_line(
    change: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
    assert main(["--data", str(tmp_path), "--weights-dir", str(tmp_path), *change.split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_splits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--weights-dir", str(tmp_path)]) == 1
    assert "no folder 'train'" in capsys.readouterr().err


def test_every_method_has_a_name_of_its_own() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)


@pytest.mark.slow
def test_a_smoke_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command on a handful of photos, stopped never, then again with nothing left to measure."""
    data, weights, out = tiny_photos(tmp_path / "photos"), tmp_path, tmp_path / "out"
    model = vision.torchvision().models.mobilenet_v2()
    safetensors.torch.save_file(model.state_dict(), weights / "mobilenet_v2.safetensors")
    line = ["--data", str(data), "--weights-dir", str(weights), "--configs", "2", "--epochs", "1", "--resolution", "96"]
    line += ["--methods", "expert,ours-no-lanes,ours", "--blocks", "1", "--growth", "3", "--out", str(out)]
    assert main(line) == 0
    first = json.loads((out / "search_speed.json").read_text())
    assert len(first["rows"]) == 6
    assert {row["against"] for row in first["ratios"]} == {"expert", "ours-no-lanes"}
    assert (out / "search_speed.png").is_file()
    assert "# Search speed" in capsys.readouterr().out
    assert main(line) == 0
    assert json.loads((out / "search_speed.json").read_text())["rows"] == first["rows"]
    assert main([*line, "--seed", "1"]) == 1
    assert "another" in capsys.readouterr().err
    (out / "search_speed.md").unlink()
    assert main(["--results", str(out / "search_speed.json"), "--out", str(out)]) == 0
    assert (out / "search_speed.md").read_text() == capsys.readouterr().out
