"""The outputs of a run on the validation split are those that its value comes from."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from search_spaces import BONUS
from training import EpochResult, FitResult, Splits, State, Stop, fit, fit_lanes, open_data
from training.scoring.objectives import objective_of

from ...toys import CLASSES, TOY, toy_backbone, toy_splits


def scored_again(result: FitResult, metric: str, splits: Splits) -> float:
    assert result.outputs is not None
    objective = objective_of(metric, splits.classes)
    outputs = torch.from_numpy(result.outputs.values)
    return objective.metric.value(objective.metric.predictions(outputs), torch.from_numpy(result.outputs.labels))


@pytest.mark.parametrize("unfrozen", [0, 1])
def test_they_give_the_value_and_the_predictions(unfrozen: int) -> None:
    splits = toy_splits(noise=0.9)
    config = TOY.space.activate(TOY.recipe | {"unfrozen_stages": unfrozen})
    result = fit(TOY, config, splits, epochs=2, backbones=toy_backbone)
    assert result.outputs is not None
    assert result.outputs.values.dtype == np.float32
    assert result.outputs.classes == CLASSES
    assert tuple(result.outputs.values.argmax(1)) == result.predictions
    assert scored_again(result, TOY.metric, splits) == result.value
    names = dict(zip(splits.valid.groups, result.outputs.groups, strict=True))
    assert len(set(names.values())) == len(names)


def test_a_lane_has_its_own() -> None:
    splits = toy_splits(noise=0.9)
    configs = [TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0, "learning_rate": rate}) for rate in (0.01, 0.1)]
    first, second = fit_lanes(TOY, configs, splits, epochs=1, backbones=toy_backbone)
    assert first.outputs is not None
    assert second.outputs is not None
    assert (first.outputs.values != second.outputs.values).any()
    assert first.outputs.split == second.outputs.split
    for result in (first, second):
        assert scored_again(result, TOY.metric, splits) == result.value


def test_they_say_which_examples_they_are_of_at_any_resolution() -> None:
    config = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0})
    several = [toy_splits(), toy_splits(), toy_splits(valid=23), toy_splits(seed=1)]
    results = [fit(TOY, config, splits, epochs=1, backbones=toy_backbone) for splits in several]
    same, again, *others = [result.outputs and result.outputs.split for result in results]
    assert same == again
    assert same not in others


def test_a_run_that_is_stopped_has_those_of_its_last_epoch() -> None:
    def stop(epoch: EpochResult) -> None:
        if epoch.epoch == 2:
            raise Stop("enough")

    splits = toy_splits(noise=0.9)
    result = fit(TOY, TOY.recipe, splits, epochs=4, backbones=toy_backbone, on_epoch=stop)
    assert result.state == State.PRUNED
    assert scored_again(result, TOY.metric, splits) == result.value


def test_numbers_are_in_the_unit_of_the_target() -> None:
    splits = open_data("generated", BONUS).at(0)
    result = fit(BONUS, BONUS.recipe, splits, epochs=2)
    assert result.outputs is not None
    assert result.outputs.classes == ()
    assert result.outputs.values.shape == (len(splits.valid), 1)
    assert scored_again(result, BONUS.metric, splits) == result.value


def test_they_cross_to_another_process_and_leave_comparisons_alone() -> None:
    result = fit(TOY, TOY.recipe, toy_splits(), epochs=1, backbones=toy_backbone)
    crossed = pickle.loads(pickle.dumps(result))
    assert crossed == result
    np.testing.assert_array_equal(crossed.outputs.values, result.outputs and result.outputs.values)
