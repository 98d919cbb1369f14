"""`pomona tasks`: the overview, one task, and the best results of the folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pomona.recorded import best_recorded
from search_spaces import FRUIT, TASKS

from ..search_spaces.task_files import BIRDS
from .conftest import Run


def row(value: float, rank: int | None = 1, n: int = 334) -> dict[str, Any]:
    return {"rank": rank, "number": 0, "value": value, "n": n, "ci95": [value - 0.02, value + 0.01]}


def keep(name: str, content: object) -> None:
    folder = Path("results/leaderboards")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_overview_has_a_line_a_task(run: Run) -> None:
    code, out, _ = run("tasks")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 1 + len(TASKS)
    for task, line in zip(TASKS, lines[1:], strict=True):
        assert line.startswith(f"{task.name} ")
        assert task.title in line
    assert "learning_rate" not in out


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_one_task_is_shown_with_its_space(run: Run, task: Any) -> None:
    code, out, _ = run("tasks", task.name)
    assert code == 0
    assert all(name in out for name in task.space.dimensions)
    assert task.recipe_origin in out


def test_a_file_of_the_user_is_shown_too(run: Run) -> None:
    Path("my_task.py").write_text(BIRDS)
    code, out, _ = run("tasks", "my_task.py")
    assert (code, out.startswith("birds: birds by the look of fruit")) == (0, True)
    assert json.loads(run("tasks", "my_task.py", "--json")[1])[0]["name"] == "birds"
    assert run("tasks", "vegetables")[0] == 1


def test_for_programs_there_is_a_list_with_everything(run: Run) -> None:
    keep("fruit.json", [row(0.97)])
    told = json.loads(run("tasks", "--json")[1])
    assert [one["name"] for one in told] == [task.name for task in TASKS]
    wanted = {"name", "title", "modality", "classes", "sources", "metric", "target", "target_origin"}
    assert all(wanted | {"recipe", "recipe_origin", "space", "direction", "best"} == set(one) for one in told)
    assert told[0]["best"] == {
        "value": 0.97,
        "n": 334,
        "ci95": [0.95, 0.98],
        "file": "results/leaderboards/fruit.json",
    }
    assert told[1]["best"] is None
    assert [one["name"] for one in json.loads(run("tasks", "clothing", "--json")[1])] == ["clothing"]


def test_the_best_of_all_leaderboards_of_a_task_is_shown(run: Run) -> None:
    keep("fruit.json", [row(0.97), row(0.96, 2), row(0.999, None)])
    keep("fruit-real.json", [row(0.988)])
    keep("fruity.json", [row(1.0)])
    keep("clothing.json", [row(0.5, None)])
    keep("fruit.md", "# not read")
    out = run("tasks")[1]
    assert "98.80 % (n = 334, 96.8 to 99.8)" in out
    assert out.count("n =") == 1
    one = run("tasks", "fruit")[1]
    assert "98.80 %" in one
    assert "results/leaderboards/fruit-real.json" in one
    assert "a maximum" in one


def test_where_less_is_better_the_best_is_the_least() -> None:
    keep("fruit.json", [row(0.3), row(0.2, 2)])
    best = best_recorded(replace(FRUIT, metric="rmse", direction="minimize"))
    assert best is not None
    assert best.value == 0.2


@pytest.mark.parametrize("content", ["{", "[1]", "{}x", [{"rank": 1}], [row(0.9) | {"ci95": [1]}]])
def test_a_file_that_is_no_leaderboard_is_said_and_left_out(run: Run, content: object) -> None:
    keep("fruit.json", content)
    code, out, err = run("tasks")
    assert code == 0
    assert "n =" not in out
    assert "left out: results/leaderboards/fruit.json is no leaderboard" in err
