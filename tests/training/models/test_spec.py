"""Configs become specs in one place, and what decides a structure follows from the specs' own fields."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, make_dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import TASKS, Choice, Config, InputError, SearchSpace, Task, Value
from training import Run, Spec, resolve, spec_of, structure_part
from training.models import spec as specs
from training.models.backbones import FAMILIES
from training.models.backbones.residual import Shape as ResidualShape
from training.models.backbones.scratch import Shape as CnnShape
from training.models.backbones.texts import BagShape, EncoderShape
from training.models.dimensions import dimension, dimensions_of
from training.models.spec import BackboneSpec, HeadSpec, InputSpec, OptimizerSpec, Phase, ScheduleSpec

from ...strategies import configs
from ...toys import TOY, TOY_SPACE

PARTS = (InputSpec, BackboneSpec, HeadSpec, OptimizerSpec, ScheduleSpec)
SHAPES = (CnnShape, ResidualShape, BagShape, EncoderShape)
STAGES = 5
LEAST: Config = {"backbone": "toy", "learning_rate": 0.1}
tasks = st.sampled_from(TASKS)


def spec(**values: Value) -> Spec:
    return spec_of(LEAST | values)


@given(st.data(), tasks)
def test_every_config_of_every_task_becomes_a_value(data: st.DataObject, task: Task) -> None:
    config = data.draw(configs(task.space))
    found = resolve(task, config)
    assert found == resolve(task, dict(reversed(config.items())))
    assert hash(found) == hash(resolve(task, config))
    assert pickle.loads(pickle.dumps(Run(found, 3))) == Run(found, 3)


@given(st.data(), tasks)
def test_every_value_makes_a_difference(data: st.DataObject, task: Task) -> None:
    config, other = data.draw(configs(task.space)), data.draw(configs(task.space))
    name = data.draw(st.sampled_from([*config]))
    changed = config | {name: other.get(name, config[name])}
    try:
        changed = task.space.validate(changed)
    except InputError:
        return  # other dimensions wait for the value
    same = {"ngram_words": 0, "ngram_chars": 0}.items()  # a bag of no n-grams is one of words
    if not (config.items() >= same or changed.items() >= same):
        assert (resolve(task, changed) == resolve(task, config)) == (changed[name] == config[name])


def test_every_dimension_of_a_task_is_a_field_and_every_field_is_searched_by_some_task() -> None:
    fields = {name for part in (*PARTS, *SHAPES) for name in dimensions_of(part).values()}
    assert {name for task in TASKS for name in task.space.dimensions} == fields


def test_what_a_config_does_not_say_has_its_default() -> None:
    assert spec_of(LEAST) == Spec(
        InputSpec(resolution=0, batch_size=32, augmentation=0, views=1),
        BackboneSpec(name="toy", unfrozen=0),
        HeadSpec(width=0, layers=1, dropout=0.0, label_smoothing=0.0),
        OptimizerSpec(name="adamw", learning_rate=0.1, weight_decay=0.0, momentum=0.9),
        ScheduleSpec(fine_tune_share=0.5, fine_tune_rate=0.1, keeps_statistics=True, head_first=True),
    )


def test_every_value_reaches_its_field() -> None:
    config: Config = {
        **{"backbone": "resnet18", "unfrozen_stages": 2, "batch_norm": "batch"},
        **{"resolution": 96, "batch_size": 64, "augmentation": 3, "views": 4},
        **{"head_width": 128, "head_layers": 2, "dropout": 0.25, "label_smoothing": 0.125},
        **{"optimizer": "sgd", "learning_rate": 1, "weight_decay": 0.5, "momentum": 0.75},
        **{"fine_tune_share": 0.75, "fine_tune_rate": 0.0625},
    }
    assert spec_of(config) == Spec(
        InputSpec(resolution=96, batch_size=64, augmentation=3, views=4),
        BackboneSpec(name="resnet18", unfrozen=2),
        HeadSpec(width=128, layers=2, dropout=0.25, label_smoothing=0.125),
        OptimizerSpec(name="sgd", learning_rate=1.0, weight_decay=0.5, momentum=0.75),
        ScheduleSpec(fine_tune_share=0.75, fine_tune_rate=0.0625, keeps_statistics=False),
    )
    assert spec_of(config).head.hidden == (128, 128)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LEAST | {"unfrozen_stages": "most"}, "'all'"),
        (LEAST | {"optimizer": "lion"}, "unknown optimizer 'lion': sgd or adamw"),
        (LEAST | {"batch_size": "large"}, "batch_size is a whole number, not 'large'"),
        (LEAST | {"dropout": "some"}, "dropout is a number, not 'some'"),
        ({"backbone": "toy"}, "learning_rate is missing"),
        ({"learning_rate": 0.1}, "backbone is missing"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(config: Config, message: str) -> None:
    with pytest.raises(InputError, match=message) as problem:
        spec_of(config)
    assert "\n" not in str(problem.value)


def test_a_config_outside_the_space_is_refused() -> None:
    with pytest.raises(InputError, match="unknown dimension"):
        resolve(TOY, TOY.recipe | {"petals": 3})


def test_a_seed_makes_another_run_of_one_spec() -> None:
    assert Run(spec(dropout=0), 0) == Run(spec(dropout=0.0), 0)
    assert len({Run(spec(), 0), Run(spec(), 1), Run(spec(dropout=0.5), 0)}) == 3


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_cut_follows_from_the_unfrozen_stages(stages: int, unfrozen: int) -> None:
    cut = spec(unfrozen_stages=unfrozen).structure(stages).cut
    assert 0 <= cut <= stages
    assert stages - cut == min(unfrozen, stages)
    assert spec(unfrozen_stages="all").structure(stages).cut == 0


@given(st.integers(1, 100), st.integers(0, STAGES), st.floats(0, 1))
def test_the_phases_cover_the_epochs_and_the_head_comes_first(epochs: int, unfrozen: int, share: float) -> None:
    chosen = spec(unfrozen_stages=unfrozen, fine_tune_share=share, fine_tune_rate=0.01)
    phases = chosen.phases(STAGES, epochs)
    covered = [epoch for phase in phases for epoch in range(phase.first, phase.first + phase.epochs)]
    assert covered == list(range(1, epochs + 1))
    assert phases[0].cut == STAGES
    assert phases[0].rate_factor == 1
    assert len(phases) == (2 if unfrozen and epochs > 1 else 1)
    if len(phases) == 2:
        assert phases[1].cut == STAGES - unfrozen
        assert phases[1].rate_factor == 0.01


@pytest.mark.parametrize(("backbone", "frozen"), [("cnn:1x28x28", 0), ("residual:3x32x32", 0), ("bag:320", 1)])
def test_networks_without_pretrained_weights_train_whole_in_one_phase(backbone: str, frozen: int) -> None:
    found = spec(backbone=backbone, augmentation=2, views=4, batch_norm="pretrained", unfrozen_stages=1)
    assert found.backbone.from_scratch
    assert found.structure(STAGES).cut == frozen
    assert found.structure(STAGES).views == 0
    assert not found.schedule.keeps_statistics
    assert found.phases(STAGES, 7) == (Phase(first=1, epochs=7, cut=frozen, rate_factor=1.0),)


@pytest.mark.parametrize(
    ("backbone", "side"), [("cnn:1x28x24", 28), ("pixels:1x28x28", 28), ("bag:320", 0), ("mobilenet_v2", 0)]
)
def test_a_backbone_of_pictures_says_their_size_where_the_config_does_not(backbone: str, side: int) -> None:
    assert spec(backbone=backbone).input.resolution == side
    assert spec(backbone=backbone, resolution=96).input.resolution == 96


@given(configs(TOY_SPACE), configs(TOY_SPACE))
def test_the_structure_follows_from_its_part_of_a_config(one: Config, other: Config) -> None:
    part = structure_part(one)
    own = {name: value for name, value in other.items() if name not in structure_part(other)}
    assert part.items() <= one.items()
    assert not own.keys() & structure_part(one).keys()
    assert spec_of(own | part).structure(STAGES) == spec_of(one).structure(STAGES)


def test_a_lanes_own_settings_are_no_part_of_its_structure() -> None:
    config = TOY.recipe
    assert not structure_part(config).keys() & {
        name for part in (HeadSpec, OptimizerSpec, ScheduleSpec) for name in dimensions_of(part).values()
    }
    assert structure_part(config).keys() >= {"backbone", "unfrozen_stages", "batch_size", "augmentation", "views"}


# What a new dimension takes: a field with its name. The two tests below add one and touch nothing else.


@dataclass(frozen=True)
class Flower:
    petals: int = dimension("petals", int, 3)


def test_a_new_dimension_of_a_network_decides_the_structure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    family: Any = SimpleNamespace(
        FROZEN=0,
        shape_of=lambda name: Flower() if name.startswith("flower:") else None,
        name_of=lambda shape: f"flower:{shape.petals}",
    )
    monkeypatch.setattr("training.models.backbones.FAMILIES", {**FAMILIES, "flower:": family})
    space = SearchSpace(TOY_SPACE.replace(backbone=Choice("flower:")).dimensions | {"petals": Choice(3, 5)})
    task = replace(TOY, space=space, recipe=TOY.recipe | {"backbone": "flower:", "petals": 3})
    three, five = (resolve(task, task.recipe | {"petals": petals}) for petals in (3, 5))
    assert three.structure(STAGES) != five.structure(STAGES)
    assert structure_part(task.recipe)["petals"] == 3
    assert resolve(task, task.recipe | {"dropout": 0.5}).structure(STAGES) == three.structure(STAGES)


def test_a_new_dimension_of_the_input_decides_the_structure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    crop = ("crop", int, dimension("crop", int, 0))
    monkeypatch.setattr(specs, "InputSpec", make_dataclass("Cropped", [crop], bases=(InputSpec,), frozen=True))
    space = SearchSpace(TOY_SPACE.dimensions | {"crop": Choice(0, 8)})
    task = replace(TOY, space=space, recipe=TOY.recipe | {"crop": 8})
    whole, cropped = (resolve(task, task.recipe | {"crop": crop}) for crop in (0, 8))
    assert whole.structure(STAGES) != cropped.structure(STAGES)
    assert structure_part(task.recipe)["crop"] == 8
    # What is kept of cropped photos is not mistaken for what is kept of whole ones.
    assert (whole.input.further, cropped.input.further) == ("", "crop 8")
    assert resolve(task, task.recipe | {"dropout": 0.5}).structure(STAGES) == cropped.structure(STAGES)
