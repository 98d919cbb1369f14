"""What the tasks search is what the training core reads, name by name."""

from __future__ import annotations

import pytest

from search_spaces import TASKS, Choice, Task
from training import resolve
from training.models.backbones import check_name

READ = {
    "backbone",
    "resolution",
    "batch_size",
    "augmentation",
    "views",
    "optimizer",
    "momentum",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "head_width",
    "dropout",
    "unfrozen_stages",
    "fine_tune_share",
    "fine_tune_rate",
    "batch_norm",
}

with_backbone = [task for task in TASKS if "backbone" in task.space.dimensions]
pretrained = [task for task in with_backbone if "unfrozen_stages" in task.space.dimensions]


@pytest.mark.parametrize("task", pretrained, ids=lambda task: task.name)
def test_every_dimension_of_transfer_learning_is_read_and_none_is_missing(task: Task) -> None:
    # A space may offer networks of its own beside the pretrained ones.
    assert set(task.space.dimensions) - {"residual_blocks", "residual_width"} == READ


@pytest.mark.parametrize("task", with_backbone, ids=lambda task: task.name)
def test_every_backbone_is_known(task: Task) -> None:
    backbones = task.space.dimensions["backbone"]
    assert isinstance(backbones, Choice)
    for name in backbones.possible:
        check_name(str(name))


@pytest.mark.parametrize("task", pretrained, ids=lambda task: task.name)
def test_the_recipe_has_a_structure_and_phases(task: Task) -> None:
    spec = resolve(task, task.recipe)
    assert spec.structure(5).backbone == task.recipe["backbone"]
    assert sum(phase.epochs for phase in spec.phases(5, 8)) == 8
