"""What every task promises, and what the package keeps out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from search_spaces import TASKS, InputError, Task, task_named

tasks = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@tasks
def test_the_recipe_lies_in_the_space(task: Task) -> None:
    assert task.space.validate(task.recipe) == task.recipe
    assert list(task.recipe) == list(task.space.active(task.recipe))


@tasks
def test_a_task_is_found_by_its_name(task: Task) -> None:
    assert task_named(task.name) is task


def test_names_are_unique() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)


@tasks
def test_a_recipe_outside_the_space_cannot_be_built(task: Task) -> None:
    name = next(iter(task.recipe))
    with pytest.raises(InputError):
        replace(task, recipe={**task.recipe, name: "no such value"})
    with pytest.raises(InputError, match="missing"):
        replace(task, recipe={})


@tasks
def test_a_direction_is_one_of_two(task: Task) -> None:
    with pytest.raises(InputError, match="direction"):
        replace(task, direction="up")


@tasks
def test_a_task_can_be_a_key(task: Task) -> None:
    assert {task: 1}[replace(task)] == 1


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown task 'wood'; there is .*fruit"):
        task_named("wood")


def test_the_package_imports_nothing_of_ours_and_no_heavy_library() -> None:
    program = "import sys, search_spaces; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "search_spaces" in loaded
    assert not {"torch", "numpy", "optuna", "ray", "pandas", "training", "studies", "bench", "pomona"} & set(loaded)
