"""Predicted costs: what must make a run dearer, and what is free. No time is asserted: speeds are made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Config
from tests.toys import RESOLUTION, TOY, toy_backbone, toy_splits
from training import Numerics, Prefixes, PrefixStore, Splits, fit
from training.lanes.costs import CostModel, Output
from training.lanes.speeds import SpeedFile, Speeds
from training.models.spec import most_unfrozen

CPU = torch.device("cpu")
PLAIN: Config = {
    "backbone": "toy",
    "resolution": RESOLUTION,
    "batch_size": 8,
    "augmentation": 0,
    "optimizer": "adamw",
    "learning_rate": 0.03,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "head_width": 0,
    "dropout": 0.1,
    "unfrozen_stages": 0,
}
STAGES: Config = {"unfrozen_stages": 2, "fine_tune_share": 0.5, "fine_tune_rate": 0.1, "batch_norm": "pretrained"}


@dataclass(frozen=True)
class Counted:
    """Data of which only the numbers are asked."""

    location: str = "toy"
    classes: tuple[str, ...] = ("a", "b", "c")

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {"train": {"a": 100}, "valid": {"a": 40}}

    def at(self, resolution: int) -> Splits:
        return toy_splits(100, 40)

    def reading_seconds(self, _resolution: int) -> float:
        return 0.01


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CostModel:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path))
    file = SpeedFile(CPU, Numerics())
    file.put("toy", Speeds(RESOLUTION, (0.1, 0.1, 0.1), (0.3, 0.3, 0.3), (4000, 4000, 64)))
    file.save()
    return a_model(tmp_path, Counted())


def a_model(tmp_path: Path, data: Any) -> CostModel:
    return CostModel(
        TOY,
        data,
        epochs=4,
        seed=0,
        numerics=Numerics(),
        device=CPU,
        backbones=toy_backbone,
        store=PrefixStore(tmp_path / "prefixes", disk_limit=10**9),
    )


def test_features_cost_a_forward_of_all_examples_once(model: CostModel) -> None:
    cost = model.predict(PLAIN)
    assert cost.prefix == pytest.approx(0.3 * 140)
    model.learn(PLAIN, cost, cost.seconds - cost.train, cost.train)
    again = model.predict(PLAIN)
    assert again.prefix == 0.0
    assert again.inputs == 0.0
    assert again.seconds < cost.seconds


def test_scores_after_epochs_are_no_part_of_the_steps_that_correct_a_prediction(model: CostModel) -> None:
    """What an epoch says that it took are its steps alone."""
    cost = model.predict(PLAIN | STAGES)
    model.learn(PLAIN | STAGES, cost, cost.seconds - cost.train, cost.train)
    again = model.predict(PLAIN | STAGES)
    assert again.train == pytest.approx(cost.train)
    assert again.scored == pytest.approx(cost.scored)


def test_views_cost_a_forward_each_and_share_the_plain_validation_photos(model: CostModel) -> None:
    cost = model.predict(PLAIN)
    model.learn(PLAIN, cost, cost.seconds - cost.train, cost.train)
    two = model.predict(PLAIN | {"augmentation": 2, "views": 2})
    three = model.predict(PLAIN | {"augmentation": 2, "views": 3})
    factor = two.prefix / (2 * 0.3 * 100)
    assert factor > 0
    assert three.prefix / (3 * 0.3 * 100) == pytest.approx(factor)
    # A new one in every epoch can't be kept.
    assert model.predict(PLAIN | {"augmentation": 2, "views": 0}).prefix == pytest.approx(factor * 4 * 0.3 * 100)


def test_stages_see_the_views_of_their_own_epochs_alone(model: CostModel) -> None:
    """Of three views, one belongs to the last of four epochs alone, in which the last two stages train."""
    last = {"fine_tune_share": 0.25}
    cost = model.predict(PLAIN | {"augmentation": 2, "views": 3} | STAGES | last)
    heads, stages = 3, 0  # the fourth epoch sees the first view again
    assert cost.prefix == pytest.approx(heads * 0.3 * 100 + stages * 0.1 * 100 + 0.3 * 40)


@pytest.mark.parametrize("views", [2, 3])
def test_a_run_keeps_what_is_predicted(model: CostModel, tmp_path: Path, views: int) -> None:
    data, config = Counted(), PLAIN | {"augmentation": 2, "views": views} | STAGES
    # What was kept on the way is predicted of all stages that a config of the space may unfreeze.
    prefixes = Prefixes(
        backbones=toy_backbone,
        store=PrefixStore(tmp_path / "prefixes", disk_limit=10**9),
        unfrozen=most_unfrozen(TOY.space),
    )
    fit(TOY, config, data.at(RESOLUTION), epochs=4, seed=0, prefixes=prefixes)
    model.learn(config, cost := model.predict(config), cost.seconds, cost.train)

    def on_disk(model: CostModel) -> dict[bool, set[Output]]:
        """Features follow from the first stage's output, and stay in memory."""
        return {train: {output for output in kept if output[-1] == 1} for train, kept in model._outputs.items()}

    assert on_disk(model) == on_disk(a_model(tmp_path, data))
    assert len(on_disk(model)[True]) == views


def test_stages_begin_at_what_was_kept_on_the_way_to_features(model: CostModel) -> None:
    views: Config = {"augmentation": 2, "views": 2}
    before = model.predict(PLAIN | views | STAGES).prefix
    heads = model.predict(PLAIN | views, robust=True)
    model.learn(PLAIN | views, heads, heads.seconds - heads.train, heads.train, robust=True)
    after = model.predict(PLAIN | views | STAGES, robust=True)
    assert before > 0
    assert after.prefix == 0.0
    # What was changed of the validation photos passes through the last two stages alone.
    assert after.shifted < heads.shifted
    # Validation photos are always plain; training photos were not.
    assert model.predict(PLAIN).prefix > 0.3 * 100


def test_stages_that_train_cost_every_epoch_and_every_lane(model: CostModel) -> None:
    one, two = (model.predict(PLAIN | STAGES, lanes) for lanes in (1, 2))
    # Two of four epochs, two stages, and the scores of the validation photos.
    assert one.train == pytest.approx(2 * 100 * 0.6, rel=0.05)
    assert one.scored == pytest.approx(2 * 40 * 0.2)
    assert two.scored == 2 * one.scored
    assert two.train == pytest.approx(2 * one.train, rel=0.05)
    heads = [model.predict(PLAIN, lanes).train for lanes in (1, 16)]
    assert heads[1] < 4 * heads[0]


def test_wide_heads_and_further_scores_cost_more(model: CostModel) -> None:
    small, wide = model.predict(PLAIN), model.predict(PLAIN | {"head_width": 8})
    assert small.train < wide.train
    without = {name: value for name, value in PLAIN.items() if name != "head_width"}
    assert small.train < model.predict(without).train < wide.train
    assert model.predict(PLAIN, cross_validate=True).seconds > small.seconds


def test_predictions_follow_what_runs_took(model: CostModel) -> None:
    cost = model.predict(PLAIN | {"augmentation": 1, "views": 2})
    model.learn(PLAIN | {"augmentation": 1, "views": 2}, cost, 3 * (cost.seconds - cost.train), 2 * cost.train)
    other = model.predict(PLAIN | {"augmentation": 3, "views": 2})
    assert other.prefix > 1.5 * 2 * 0.3 * 100
    assert other.train == pytest.approx(2 * cost.train)


def test_groups_in_turn_read_what_those_before_them_kept(model: CostModel) -> None:
    views = PLAIN | {"augmentation": 2, "views": 2}
    first, plain = model.predict(views), model.predict(PLAIN)
    both = model.seconds_in_turn([(views, 1), (views, 1)])
    assert both == pytest.approx([first.seconds, first.train + first.fixed])
    # Validation photos are plain for both, and decoded once.
    assert sum(model.seconds_in_turn([(views, 1), (PLAIN, 1)])) < first.seconds + plain.seconds
    # An asked question changes nothing.
    assert model.predict(views) == first
    # A new view in every epoch can't be kept, so every group computes it.
    fresh = PLAIN | {"augmentation": 2, "views": 0}
    one = model.predict(fresh)
    assert sum(model.seconds_in_turn([(fresh, 2), (fresh, 2)])) > 2 * one.prefix - 0.3 * 40 - 0.01


def test_cross_validation_has_a_correction_of_its_own(model: CostModel) -> None:
    """That of frozen stages stays what it is, however often heads on kept features are raced."""
    cost = model.predict(PLAIN)
    model.learn(PLAIN, cost, cost.seconds - cost.train, cost.train)
    fresh = PLAIN | {"augmentation": 2, "views": 2}
    before = model.predict(fresh).prefix
    lanes = 400_000
    for _ in range(12):
        cost = model.predict(PLAIN, lanes, cross_validate=True)
        assert cost.race > cost.fixed
        # Half of what it was first predicted to take.
        model.learn(PLAIN, cost, cost.fixed + model.predict(PLAIN, lanes).train, cost.train)
    assert model.predict(fresh).prefix == before
    cost = model.predict(PLAIN, lanes, cross_validate=True)
    assert cost.race == pytest.approx(cost.train, rel=0.05)


def test_what_augments_is_not_cross_validated(model: CostModel) -> None:
    views = PLAIN | {"augmentation": 2, "views": 2}
    assert model.predict(views, 8, cross_validate=True).race == 0.0
    assert model.predict(PLAIN, 8, cross_validate=True).race > 0.0


def test_only_outputs_of_this_data_are_there(model: CostModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block holds rows of whatever data went through; other photos were not among them."""
    data = Counted()
    store = PrefixStore(tmp_path / "prefixes", disk_limit=10**9)
    prefixes = Prefixes(backbones=toy_backbone, store=store)
    splits = data.at(RESOLUTION)
    fit(TOY, PLAIN, splits, epochs=1, seed=0, prefixes=prefixes)
    assert a_model(tmp_path, data).predict(PLAIN).prefix == 0.0

    # Nor were those that other kernels computed, which nobody reads.
    monkeypatch.setattr("training.lanes.costs.REVISION", -1)
    assert a_model(tmp_path, data).predict(PLAIN).prefix == pytest.approx(0.3 * 140)
    monkeypatch.undo()
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path))

    class Others(Counted):
        def at(self, resolution: int) -> Splits:
            named = {name: [f"other {key}" for key in getattr(splits, name).keys] for name in ("train", "valid")}
            parts = {name: replace(getattr(splits, name), keys=tuple(keys)) for name, keys in named.items()}
            return replace(splits, **parts)

    cost = a_model(tmp_path, Others()).predict(PLAIN)
    assert cost.prefix == pytest.approx(0.3 * 140)
    assert cost.inputs == pytest.approx(0.01 * 140)


def test_what_a_run_that_was_given_up_left_behind_is_not_predicted_again(model: CostModel, tmp_path: Path) -> None:
    config = PLAIN | {"augmentation": 2, "views": 2} | STAGES
    before = model.predict(config)
    prefixes = Prefixes(
        backbones=toy_backbone,
        store=PrefixStore(tmp_path / "prefixes", disk_limit=10**9),
        unfrozen=most_unfrozen(TOY.space),
    )
    fit(TOY, config, Counted().at(RESOLUTION), epochs=4, seed=0, prefixes=prefixes)
    model.look(config)
    after = model.predict(config)
    assert after.prefix < before.prefix
    assert after.inputs == 0.0
    assert after.train == before.train
