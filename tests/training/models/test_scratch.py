"""Networks that begin with random weights: named by their shape, trained whole in one phase."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config, Task
from search_spaces.fashion_cnn import FASHION_CNN
from training import (
    LaneGroup,
    Numerics,
    Prefixes,
    Stop,
    fit,
    fit_lanes,
    load_backbone,
    load_checkpoint,
    load_lane,
    save_lane,
    spec_of,
    structure_part,
)
from training.lanes.results import EpochResult
from training.models.backbones import build, scratch

from ..lanes.test_perceptron import grey_splits

CONFIG: Config = FASHION_CNN.recipe | {"conv_channels": 16, "head_width": 0, "dropout": 0.0, "batch_size": 64}
TASK: Task = replace(FASHION_CNN, classes=("low", "middle", "high"))


@given(st.integers(1, 3), st.sampled_from([16, 32, 64]), st.sampled_from([3, 5]), st.sampled_from(["batch", "none"]))
def test_a_name_says_the_whole_shape(blocks: int, channels: int, kernel: int, norm: str) -> None:
    config = CONFIG | {"conv_blocks": blocks, "conv_channels": channels, "conv_kernel": kernel, "conv_norm": norm}
    shape = scratch.shape_of(spec_of(config).backbone.name)
    assert shape == scratch.Shape((1, 28, 28), blocks, channels, kernel, norm == "batch")
    assert structure_part(config).items() >= {"conv_blocks": blocks, "conv_kernel": kernel}.items()


def test_what_is_no_network_has_no_shape() -> None:
    assert scratch.shape_of("mobilenet_v2") is None
    assert scratch.shape_of("cnn:1x28") is None


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_features_are_as_wide_as_the_backbone_says(blocks: int) -> None:
    backbone = build(spec_of(CONFIG | {"conv_blocks": blocks, "conv_norm": "batch"}).backbone.name)
    seen = torch.rand(2, 1, 28, 28)
    for stage in backbone.stages:
        seen = stage(seen)
    assert backbone.pool(seen).shape == (2, backbone.widths[-1])
    assert len(backbone.stages) == blocks


def test_all_of_it_trains_from_the_first_epoch() -> None:
    assert spec_of(CONFIG).structure(2).cut == 0
    (phase,) = spec_of(CONFIG).phases(2, 5)
    assert (phase.first, phase.epochs, phase.cut, phase.rate_factor) == (1, 5, 0, 1.0)
    name = spec_of(CONFIG).backbone.name
    assert load_backbone(name).weights_digest == load_backbone(name).weights_digest


def test_a_seed_decides_the_weights_it_begins_with() -> None:
    splits = grey_splits()
    first, again, other = (fit(TASK, CONFIG, splits, epochs=2, seed=seed) for seed in (0, 0, 1))
    assert [epoch.loss for epoch in first.curve] == [epoch.loss for epoch in again.curve]
    assert first.curve[0].loss != other.curve[0].loss
    assert first.value is not None
    assert first.value > 0.5


def test_lanes_learn_what_each_would_alone() -> None:
    splits = grey_splits()
    configs = [CONFIG, CONFIG | {"learning_rate": 3e-3}]
    for config, mine in zip(configs, fit_lanes(TASK, configs, splits, epochs=2), strict=True):
        alone = fit(TASK, config, splits, epochs=2)
        assert [epoch.loss for epoch in mine.curve] == [epoch.loss for epoch in alone.curve]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, channels_last: bool, optimizer: str) -> None:
    splits, numerics = grey_splits(), Numerics(channels_last=channels_last)
    config = CONFIG | {"conv_blocks": 1, "optimizer": optimizer}
    config |= {"momentum": 0.9} if optimizer == "sgd" else {}
    whole = fit(TASK, config, splits, epochs=3, numerics=numerics)

    def stop(result: EpochResult) -> None:
        if result.epoch == 1:
            raise Stop("enough")

    fit(TASK, config, splits, epochs=3, numerics=numerics, on_epoch=stop, checkpoint_to=tmp_path)
    resumed = fit(TASK, config, splits, epochs=3, numerics=numerics, checkpoint_to=tmp_path, resume_from=tmp_path)
    assert [epoch.loss for epoch in resumed.curve] == [epoch.loss for epoch in whole.curve]
    classifier = load_checkpoint(tmp_path).classifier()
    assert (classifier.resolution, classifier.channels) == (28, 1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_lane_that_was_put_aside_goes_on_where_it_was(tmp_path: Path, channels_last: bool, optimizer: str) -> None:
    prefixes = Prefixes(numerics=Numerics(channels_last=channels_last))
    config = CONFIG | {"conv_blocks": 1, "optimizer": optimizer}
    config |= {"momentum": 0.9} if optimizer == "sgd" else {}

    def group(epoch: int) -> LaneGroup:
        structure = spec_of(config).structure(1)
        return LaneGroup(TASK, grey_splits(), structure, epochs=3, seed=0, prefixes=prefixes, epoch=epoch)

    undisturbed, later = group(0), group(1)
    undisturbed.add(0, config)
    undisturbed.train_epoch()
    save_lane(tmp_path / "lane", undisturbed.state(0), {})
    later.add(0, config, resume=load_lane(tmp_path / "lane", {}))
    for _ in range(2):
        assert later.train_epoch()[0].loss == undisturbed.train_epoch()[0].loss
