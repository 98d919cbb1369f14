"""A number instead of a class: the same training, another loss and another metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces import BONUS, Config
from training import (
    LaneGroup,
    Prefixes,
    PrefixStore,
    Splits,
    Stop,
    evaluate,
    fit,
    fit_lanes,
    load_checkpoint,
    open_data,
    spec_of,
)
from training.export.evaluate import predict
from training.frozen.source import training_pass
from training.lanes.optimisation import schedule
from training.lanes.results import EpochResult

CPU = torch.device("cpu")
GOOD: Config = BONUS.recipe | {"learning_rate": 0.2, "momentum": 0.5}


def splits() -> Splits:
    return open_data("generated", BONUS).at(0)


def test_a_searched_rate_finds_the_formula_and_the_recipes_does_not() -> None:
    found, recipe = (fit(BONUS, config, splits(), epochs=20) for config in (GOOD, BONUS.recipe))
    assert BONUS.target is not None
    assert found.value is not None
    assert recipe.value is not None
    assert found.value >= BONUS.target.value
    assert recipe.value < 0.9
    assert found.estimate is not None
    assert found.estimate.low <= found.value <= found.estimate.high
    assert found.secondary["rmse"] < 0.5 < recipe.secondary["rmse"]


def test_it_takes_the_steps_of_torchs_plain_sgd() -> None:
    data, config, seed = splits(), BONUS.recipe | {"learning_rate": 0.05}, 3
    assert data.fitted is not None
    group = LaneGroup(BONUS, data, spec_of(config).structure(1), epochs=1, seed=seed, prefixes=Prefixes())
    group.add(0, config)
    linear = nn.Linear(3, 1)
    linear.load_state_dict({"weight": (theirs := group.model(0).head.layers[-1]).weight, "bias": theirs.bias})
    optimizer = torch.optim.SGD(
        [
            {"params": [linear.weight], "weight_decay": float(config["weight_decay"])},
            {"params": [linear.bias], "weight_decay": 0.0},
        ],
        lr=1.0,
    )
    way = training_pass(group.prefixes, group.structure, data.train, seed=seed, epoch=1)
    for batch in way.batches():
        for parameters in optimizer.param_groups:
            parameters["lr"] = 0.05 * schedule(batch.number, len(way))
        rows, labels = data.train.take(batch.index)
        loss = nn.functional.mse_loss(linear((rows - data.fitted["mean"]) / data.fitted["std"])[:, 0], labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    group.train_epoch()
    trained = group.model(0).head.layers[-1]
    torch.testing.assert_close(trained.weight, linear.weight)
    torch.testing.assert_close(trained.bias, linear.bias)


def test_lanes_learn_what_each_would_alone(tmp_path: Path) -> None:
    configs = [GOOD, BONUS.recipe, GOOD | {"learning_rate": 0.01, "momentum": 0.9}]
    shared = Prefixes(store=PrefixStore(tmp_path))
    for config, mine in zip(configs, fit_lanes(BONUS, configs, splits(), epochs=3, prefixes=shared), strict=True):
        alone = fit(BONUS, config, splits(), epochs=3)
        assert mine.predictions == pytest.approx(alone.predictions, rel=1e-4)


def test_standardisation_travels_in_the_checkpoint(tmp_path: Path) -> None:
    data = splits()
    result = fit(BONUS, GOOD, data, epochs=4, checkpoint_to=tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    assert data.fitted is not None
    for name, tensor in data.fitted.items():
        assert torch.equal(checkpoint.tensors[f"model.stages.0.{name}"], tensor)
    again = evaluate(checkpoint, data.valid, CPU)
    assert again.score == result.estimate
    assert again.accuracy is None
    assert tuple(again.outputs[:, 0].tolist()) == pytest.approx(result.predictions)


def test_a_file_is_answered_row_by_row(tmp_path: Path) -> None:
    fit(BONUS, GOOD, splits(), epochs=20, checkpoint_to=tmp_path / "c")
    rows = tmp_path / "new.csv"
    rows.write_text("years_of_experience,performance,projects_completed\n4,7,5\n10,1,11\n")
    predictions = predict(load_checkpoint(tmp_path / "c"), [rows], CPU)
    assert [answer.value for answer in predictions] == pytest.approx([138, 114], abs=0.5)
    assert [answer.path for answer in predictions] == [f"{rows} row 1", f"{rows} row 2"]


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    def stop(result: EpochResult) -> None:
        if result.epoch == 1:
            raise Stop("enough")

    whole = fit(BONUS, GOOD, splits(), epochs=3)
    fit(BONUS, GOOD, splits(), epochs=3, on_epoch=stop, checkpoint_to=tmp_path)
    resumed = fit(BONUS, GOOD, splits(), epochs=3, checkpoint_to=tmp_path, resume_from=tmp_path)
    assert resumed.predictions == whole.predictions


def test_an_error_is_minimised() -> None:
    task = replace(BONUS, metric="rmse", direction="minimize", target=None)
    result = fit(task, GOOD, splits(), epochs=20)
    assert result.value is not None
    assert result.value < 1
    assert result.secondary["r2"] > 0.999
