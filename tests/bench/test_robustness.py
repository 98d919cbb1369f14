"""The measurement of robustness goes on where it was, and its tables say what the rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import robustness
from bench.robustness_report import markdown, shares, tied
from search_spaces import task_named
from search_spaces.benchmarks import robustness_configs

from ..training.data.folders import write_photo


def figures(**changes: Any) -> dict[str, Any]:
    rows = [
        row(0.99, 0.80, {"a": 10, "w": 5}, kind="small"),
        row(0.98, 0.90, {"a": 15, "w": 6}, kind="large"),
        row(0.80, 0.70, {"a": 20, "w": 7}, kind="large"),
        row(0.97, 0.85, {"a": 12, "w": 8}, kind="small"),
    ]
    return {
        "settings": {"fingerprint": "f", "elsewhere": "e", "epochs": 3, "seed": 0, "shifts": 1},
        "command": "python -m bench.robustness",
        "data": "fruit",
        "n": 334,
        "elsewhere": {"a": 20, "w": 10},
        "web": ["w"],
        "environment": {"versions": {"torch": "2"}, "python": "3", "device": "cpu", "commit": ""},
        "rows": rows,
    } | changes


def row(valid: float, robust: float, elsewhere: dict[str, int], **config: object) -> dict[str, Any]:
    interval = [valid - 0.03, min(valid + 0.03, 1.0)]
    return {
        "config": config,
        "valid": valid,
        "group_value": valid,
        "groups_ci95": interval,
        "robust": robust,
        "elsewhere": elsewhere,
    }


def test_shares_are_of_camera_photos_and_of_web_pictures() -> None:
    found = figures()
    assert shares(found["rows"][0], found) == {"camera": 0.5, "web": 0.5}


def test_tied_are_those_inside_the_interval_of_the_best() -> None:
    assert [row["valid"] for row in tied(figures()["rows"])] == [0.99, 0.98, 0.97]


def test_the_tables_tell_correlations_choices_and_what_is_missing() -> None:
    lines = markdown(figures(missing=2)).splitlines()
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line
    }
    assert cells["all"][:1] in (["4"],)
    assert cells["inside the interval of the best `valid`"] == ["3", "-0.50", "+1.00", "-1.00", "+0.50"]
    assert cells["w"] == ["10", "65.0", "-0.80", "+0.00"]
    assert cells["best `valid` (equal ones: their mean)"] == ["1", "99.0", "80.0", "50.0", "50.0"]
    assert cells["best `robust` inside its interval"] == ["1", "98.0", "90.0", "75.0", "60.0"]
    assert "2 configs were not trained for want of time." in lines


def test_the_configs_lie_in_the_task_s_space_and_differ() -> None:
    task = task_named("fruit")
    configs = robustness_configs(robustness.BACKBONES, robustness.RESOLUTIONS)
    assert len({json.dumps(task.space.validate(task.space.activate(config))) for config in configs}) == len(configs)


def test_what_is_there_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_named("fruit")
    for label in task.classes:
        for number in range(2):
            for folder in ("data/train", "data/valid", "others"):
                write_photo(tmp_path / folder / label / f"na_{number}.png", f"{folder} {label} {number}")
    arguments = ["--data", str(tmp_path / "data"), "--elsewhere", str(tmp_path / "others"), "--out", str(tmp_path)]
    arguments += ["--backbones", "mobilenet_v2", "--resolutions", "96", "--epochs", "1"]
    trained: list[int] = []

    def train(_task: object, _splits: object, _structure: object, configs: list[Any], *_rest: object) -> list[Any]:
        trained.append(len(configs))
        return [row(0.9, 0.8, {"na": 3}) | {"config": config} for config in configs]

    monkeypatch.setattr(robustness, "trained", train)
    monkeypatch.setattr(robustness, "_structures", lambda _task, configs, _prefixes: {Structure96(): configs})
    assert robustness.main([*arguments, "--seconds", "0"]) == 0
    assert trained == []
    assert robustness.main(arguments) == 0
    total = len(robustness_configs(["mobilenet_v2"], [96]))
    assert trained == [total]
    assert robustness.main(arguments) == 0
    assert trained == [total]
    assert len(json.loads((tmp_path / "robustness.json").read_bytes())["rows"]) == total


class Structure96:
    resolution = 96
