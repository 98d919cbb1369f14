"""Optuna's form of a space says the same as ours, in both directions, ends included."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from search_spaces import TASKS, Config, Dimension, Float, InputError, Integer, SearchSpace, Task
from studies.edges.optuna import dimension_of, distribution_of, suggest

from ..strategies import configs, dimensions, floats, integers, spaces, values_of


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@given(dimensions)
def test_a_dimension_survives_the_round_trip(dimension: Dimension) -> None:
    assert dimension_of(distribution_of(dimension)) == dimension


@given(dimensions)
def test_a_distribution_survives_the_round_trip_and_a_storage(dimension: Dimension) -> None:
    distribution = distribution_of(dimension)
    assert distribution_of(dimension_of(distribution)) == distribution
    assert json_to_distribution(distribution_to_json(distribution)) == distribution


@given(dimensions)
def test_a_condition_is_no_part_of_a_distribution(dimension: Dimension) -> None:
    conditional = dimension.when("other", [1])
    assert distribution_of(conditional) == distribution_of(dimension)
    assert dimension_of(distribution_of(conditional)) == dimension


@given(st.data(), dimensions)
def test_values_come_through_unchanged_with_their_type(data: st.DataObject, dimension: Dimension) -> None:
    value = data.draw(values_of(dimension))
    chosen = suggest(optuna.trial.FixedTrial({"x": value}), SearchSpace({"x": dimension}))["x"]
    assert chosen == value
    assert type(chosen) is type(value)


@given(st.one_of(floats(), integers()))
def test_both_ends_can_be_suggested(dimension: Float | Integer) -> None:
    for end in (dimension.low, dimension.high):
        assert suggest(optuna.trial.FixedTrial({"x": end}), SearchSpace({"x": dimension})) == {"x": end}


def suggested(space: SearchSpace, trials: int, enqueued: list[Config] | None = None) -> list[Config]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for config in enqueued or []:
        study.enqueue_trial(config)
    return [suggest(study.ask(), space) for _ in range(trials)]


@pytest.mark.parametrize("log", [False, True], ids=["linear", "logarithmic"])
def test_sampling_reaches_every_whole_number(log: bool) -> None:
    assert {config["x"] for config in suggested(SearchSpace({"x": Integer(1, 4, log=log)}), 60)} == {1, 2, 3, 4}


@given(spaces())
def test_every_suggestion_is_a_config_of_the_space(space: SearchSpace) -> None:
    for config in suggested(space, 3):
        assert space.validate(config) == config


@given(spaces().flatmap(lambda space: st.tuples(st.just(space), configs(space))))
def test_an_enqueued_config_comes_back_as_it_is(pair: tuple[SearchSpace, Config]) -> None:
    space, config = pair
    assert suggested(space, 1, [config]) == [config]


def test_a_name_whose_condition_fails_is_not_asked_for() -> None:
    space = SearchSpace({"depth": Integer(0, 2), "rate": Float(0.0, 1.0).when("depth", [1, 2])})
    assert suggest(optuna.trial.FixedTrial({"depth": 0}), space) == {"depth": 0}
    assert suggest(optuna.trial.FixedTrial({"depth": 1, "rate": 0.5}), space) == {"depth": 1, "rate": 0.5}


def test_an_enqueued_value_outside_its_dimension_is_refused() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 9})
    with pytest.warns(UserWarning, match="out of range"), pytest.raises(InputError, match="x must lie in 0 to 5"):
        suggest(study.ask(), SearchSpace({"x": Integer(0, 5)}))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_recipe_of_every_task_is_its_trial_0(task: Task) -> None:
    assert suggested(task.space, 1, [task.recipe]) == [task.recipe]


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(0.0, 1.0, step=0.25),
        IntDistribution(0, 10, step=2),
        CategoricalDistribution([None, "a"]),
    ],
    ids=["a Float in steps", "an Integer in steps", "None among the choices"],
)
def test_a_distribution_without_counterpart_is_refused(distribution: BaseDistribution) -> None:
    with pytest.raises(InputError):
        dimension_of(distribution)
