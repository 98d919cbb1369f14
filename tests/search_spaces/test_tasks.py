"""What every task promises, and what the package keeps out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from search_spaces import (
    BONUS,
    CATS_DOGS,
    CIFAR10,
    CLOTHING,
    FLOWERS,
    FRUIT,
    IMAGES,
    TASKS,
    Choice,
    InputError,
    Target,
    Task,
    task_named,
)

from ..shared import SHARED_DATA, needs_data

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


@pytest.mark.parametrize(
    ("field", "value", "saying"),
    [
        ("classes", (0, 1), r"^classes is a tuple of texts, and holds 0: write a text for it$"),
        ("classes", range(10), r"^classes is a tuple of texts, and holds 0"),
        ("classes", ("cat", ""), r"^classes is a tuple of texts, and holds ''"),
        ("classes", ("cat", "dog", "cat"), r"^classes holds 'cat' twice"),
        ("classes", ("spam"), r"^classes is a tuple of texts, as in \('spam',\), not 'spam'$"),
        ("sources", ("photos"), r"^sources is a tuple of texts, as in \('photos',\), not 'photos'$"),
        ("sources", None, r"^sources is a tuple of texts, as in \('one', 'another'\), not None$"),
        ("columns", ("a", "a", "b"), r"^columns holds 'a' twice"),
        ("target", 0.95, r"^target is a search_spaces\.Target\(0\.92, 'why'\) or None, not 0\.95$"),
    ],
)
def test_what_a_task_does_not_take_is_said_in_one_line(field: str, value: object, saying: str) -> None:
    with pytest.raises(InputError, match=saying):
        replace(FRUIT, **{field: value})


def test_texts_of_a_task_may_be_a_list() -> None:
    task = replace(BONUS, columns=list(BONUS.columns), sources=list(BONUS.sources))
    assert (task.columns, task.sources) == (BONUS.columns, BONUS.sources)
    assert task == BONUS


@pytest.mark.parametrize("value", [10**400, "0.95", True, float("nan"), float("inf"), None])
def test_a_target_is_a_finite_number(value: Any) -> None:
    with pytest.raises(InputError, match=r"^a target is a finite number"):
        Target(value, "why")


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "a/b", "a.b", "é"])
def test_a_name_can_be_that_of_a_folder_and_of_a_study(name: str) -> None:
    with pytest.raises(InputError, match="a task's name"):
        replace(FRUIT, name=name)


def test_the_space_of_fruit_is_that_of_the_studies_on_disk() -> None:
    """Studies are resumed by this digest: where a change of the space is meant, the old ones can't go on."""
    assert FRUIT.space.digest == "566848a941555dd3"


def test_any_folder_is_searched_like_fruit() -> None:
    assert IMAGES.space == FRUIT.space
    assert (IMAGES.classes, IMAGES.target) == ((), None)


@pytest.mark.parametrize(
    ("task", "backbone", "head_width"),
    [(CATS_DOGS, "resnet50", 0), (CIFAR10, "resnet152", 0), (FLOWERS, "resnet152", 0), (IMAGES, "mobilenet_v2", 0)],
    ids=lambda value: getattr(value, "name", None),
)
def test_most_recipes_are_a_frozen_backbone_under_a_linear_layer(task: Task, backbone: str, head_width: int) -> None:
    wanted = {"backbone": backbone, "head_width": head_width, "unfrozen_stages": 0}
    assert wanted.items() <= task.recipe.items()


def test_the_recipe_of_clothing() -> None:
    wanted = {"backbone": "mobilenet_v2", "head_width": 100, "dropout": 0.2, "unfrozen_stages": 0}
    assert wanted.items() <= CLOTHING.recipe.items()
    assert CLOTHING.recipe["augmentation"] != 0


@needs_data
@tasks
def test_the_classes_are_the_folders_of_the_real_data(task: Task) -> None:
    folder = SHARED_DATA / task.name / "train"
    if not folder.is_dir() or not task.classes:
        pytest.skip("no class folders of its own")
    assert list(task.classes) == sorted(path.name for path in folder.iterdir())


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


def test_over_another_space_the_recipe_follows() -> None:
    narrow = FRUIT.with_space(FRUIT.space.replace(unfrozen_stages=Choice(0), backbone=Choice("resnet18")))
    assert narrow.recipe["backbone"] == "resnet18"
    assert narrow.recipe["unfrozen_stages"] == 0
    assert "fine_tune_share" not in narrow.recipe
    assert narrow.recipe["learning_rate"] == FRUIT.recipe["learning_rate"]
    assert FRUIT.with_space(FRUIT.space) == FRUIT
