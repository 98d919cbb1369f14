"""Structures from cheap to dear: what every ladder promises, on the spaces of all tasks."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces import TASKS, Choice, Float, Part, Task, task_named
from training.models.ladder import Ladder, ladder_of
from training.models.spec import resolve, structure_part

WITH_LADDER = [task for task in TASKS if ladder_of(task.space) is not None]


def ladder(task: Task) -> Ladder:
    found = ladder_of(task.space)
    assert found is not None
    return found


def test_networks_that_are_trained_whole_have_none() -> None:
    without = {task.name for task in TASKS} - {task.name for task in WITH_LADDER}
    assert without == {"fashion_cnn", "sms_spam"}


@given(st.sampled_from(WITH_LADDER), st.integers(0, 2**32))
def test_a_config_is_at_the_rung_of_what_it_raises(task: Task, seed: int) -> None:
    config = task.space.sample(random.Random(seed))
    spec, known = resolve(task, config), ladder(task)
    assume(not spec.backbone.from_scratch)
    expected = 2 if spec.backbone.unfrozen else 1 if spec.input.augmentation else 0
    assert known.rung(config) == expected
    structure = {name: config[name] for name in known.names if name in config}
    assert structure == structure_part(config)
    lowest = known.lowest({name: config[name] for name in (*known.base, *known.free)})
    assert known.rung(lowest) == 0
    assert known.below(lowest, structure)
    assert known.below(structure, lowest) == (structure == lowest)


@pytest.mark.parametrize("task", WITH_LADDER, ids=lambda task: task.name)
def test_all_structures_are_structures_of_the_space(task: Task) -> None:
    known, drawn = ladder(task), random.Random(0)
    base, free = known.bases()[0], known.free_values()[0]
    for structure in (known.lowest(base | free), *known.above(base, free)):
        others = {k: v for k, v in task.space.sample(drawn).items() if k not in known.names}
        config = known.completed(others | structure)
        missing = task.space.adapt(config)[0]
        assert {name: missing[name] for name in structure} == structure
        assert structure_part(missing) == structure
    assert len({str(each) for each in known.above(base, free)}) == len(known.above(base, free))


@pytest.mark.parametrize("task", WITH_LADDER, ids=lambda task: task.name)
def test_something_is_settled_where_something_is_pretrained(task: Task) -> None:
    settled = ladder(task).settled
    without = task.name in ("mnist_mlp", "fashion_mlp", "bonus")
    assert settled == ({} if without else {"optimizer": "adamw"})
    task.space.check_part(settled)


def test_what_was_asked_for_or_can_not_be_is_not_settled() -> None:
    task = task_named("fruit")
    known = ladder_of(task.space, asked={"label_smoothing"})
    assert known is not None
    assert known.settled == {"optimizer": "adamw"}
    for space, asked in (
        (task.space, {"optimizer"}),
        (task.space.fix({"momentum": 0.9}), {"momentum"}),
        (task.space.fix({"optimizer": "sgd"}), set[str]()),
    ):
        searched = ladder_of(space, asked=asked)
        assert searched is not None
        assert searched.settled == {}


def test_a_config_from_elsewhere_has_what_is_settled_or_does_not_agree() -> None:
    task = task_named("fruit")
    known = ladder(task)
    assert known.agrees(task.recipe | {"label_smoothing": 0.03})
    assert not known.agrees(task.recipe | {"optimizer": "sgd", "momentum": 0.9})


def test_a_fixed_dimension_climbs_nowhere() -> None:
    task = task_named("fruit")
    space = task.space.fix({"augmentation": 2, "unfrozen_stages": 0})
    known = ladder_of(space)
    assert known is not None
    assert known.lowest(known.bases()[0] | known.free_values()[0])["augmentation"] == 2
    # Only more views are left.
    above = known.above(known.bases()[0], known.free_values()[0])
    assert [each["views"] for each in above] == [4, 8]
    assert {known.rung(each) for each in above} == {0}


def test_a_space_that_has_nothing_to_decide_has_no_ladder() -> None:
    task = task_named("bonus")
    narrow = task.space.replace(learning_rate=Float(1e-3, 1e-2), batch_size=Choice(32))
    known = ladder_of(narrow)
    assert known is not None
    assert len(known.bases()) == len(known.free_values()) == 1
    assert known.above(known.bases()[0], known.free_values()[0]) == ()


@pytest.mark.parametrize("task", WITH_LADDER, ids=lambda task: task.name)
def test_what_is_eased_step_by_step_stays_on_its_rung_and_ends(task: Task) -> None:
    known = ladder(task)
    base, free = known.bases()[0], known.free_values()[0]
    structures = known.above(base, free)
    for structure in structures:
        eased, steps = structure, 0
        while (less := known.eased(eased)) is not None:
            assert less in structures
            assert known.rung(less) == known.rung(structure)
            assert known.below(less, eased)
            eased, steps = less, steps + 1
        assert steps < 9
    views = [structure for structure in structures if structure.get("views") == 8]
    assert bool(views) == ("views" in known.names)
    assert all(known.eased(structure) == structure | {"views": 4} for structure in views)


def test_a_new_view_in_every_epoch_is_more_than_any_number_of_them() -> None:
    task = task_named("fruit")
    known = ladder_of(task.space.narrow({"views": Part(options=(0, 2, 8))}))
    assert known is not None
    assert known.values("views") == (2, 8, 0)
