"""Ray Tune's form of a space says the same as ours, in both directions, ends included."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import TASKS, Choice, Config, Dimension, Float, InputError, Integer, SearchSpace, Task
from studies.edges.ray import config_of, dimension_of, domain_of, param_space

from ..strategies import configs, dimensions, flat_values, spaces

tune = pytest.importorskip("ray.tune", reason="Ray is an extra: pip install 'pomona[ray]'")


@given(dimensions)
def test_a_dimension_survives_the_round_trip(dimension: Dimension) -> None:
    assert dimension_of(domain_of(dimension)) == dimension


@given(dimensions)
def test_a_condition_is_no_part_of_a_domain(dimension: Dimension) -> None:
    assert dimension_of(domain_of(dimension.when("other", [1]))) == dimension


@pytest.mark.parametrize(
    "domain",
    [
        tune.randint(0, 5),
        tune.lograndint(1, 9),
        tune.uniform(0.0, 1.0),
        tune.loguniform(1e-4, 1e-1),
        tune.choice(["a", 2, True]),
    ],
    ids=["randint", "lograndint", "uniform", "loguniform", "choice"],
)
def test_a_domain_survives_the_round_trip(domain: Any) -> None:
    again = domain_of(dimension_of(domain))
    assert type(again) is type(domain)
    assert again.domain_str == domain.domain_str
    assert type(again.get_sampler()) is type(domain.get_sampler())


def samples(dimension: Dimension, count: int) -> set[object]:
    space = SearchSpace({"x": dimension})
    return {
        config_of(space, {name: domain.sample(random_state=seed) for name, domain in param_space(space).items()})["x"]
        for seed in range(count)
    }


@pytest.mark.parametrize("log", [False, True], ids=["linear", "logarithmic"])
def test_sampling_reaches_every_whole_number_and_no_other(log: bool) -> None:
    assert samples(Integer(1, 4, log=log), 80) == {1, 2, 3, 4}


def test_sampling_reaches_every_option() -> None:
    assert samples(Choice("a", 2, 0.5, True), 80) == {"a", 2, 0.5, True}


@given(spaces(), st.integers(0, 2**32 - 1))
def test_every_sample_gives_a_config_of_the_space(space: SearchSpace, seed: int) -> None:
    sample = {name: domain.sample(random_state=seed) for name, domain in param_space(space).items()}
    config = config_of(space, sample)
    assert space.validate(config) == config
    assert set(sample) == set(space.dimensions)


@pytest.mark.parametrize("log", [False, True], ids=["linear", "logarithmic"])
def test_a_range_of_one_value_gives_that_value(log: bool) -> None:
    assert samples(Float(0.1, 0.1, log=log), 3) == {0.1}
    assert samples(Integer(7, 7, log=log), 3) == {7}


@given(spaces().flatmap(lambda space: st.tuples(st.just(space), flat_values(space))))
def test_of_a_flat_sample_the_names_that_take_part_are_kept(pair: tuple[SearchSpace, Config]) -> None:
    space, flat = pair
    assert config_of(space, flat) == space.activate(flat)


@given(spaces().flatmap(lambda space: st.tuples(st.just(space), configs(space))))
def test_a_config_stands_for_itself(pair: tuple[SearchSpace, Config]) -> None:
    space, config = pair
    assert config_of(space, config) == config


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_recipe_of_every_task_stands_for_itself(task: Task) -> None:
    assert config_of(task.space, task.recipe) == task.recipe
    assert set(param_space(task.space)) == set(task.space.dimensions)


@pytest.mark.parametrize(
    "sample",
    [{"x": 5}, {"x": -1}, {"x": "3"}, {"x": True}, {}],
    ids=["the end that Ray leaves out", "below", "a text", "a boolean", "missing"],
)
def test_a_sample_outside_the_space_is_refused(sample: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^x "):
        config_of(SearchSpace({"x": Integer(0, 4)}), sample)


def test_a_rounding_error_of_ray_s_logarithm_is_no_error() -> None:
    space = SearchSpace({"x": Float(0.1, 1.0, log=True)})
    assert config_of(space, {"x": 0.09999999999999999}) == {"x": 0.1}
    with pytest.raises(InputError):
        config_of(space, {"x": 0.0999})


@pytest.mark.parametrize(
    "domain",
    [
        tune.quniform(0.0, 1.0, 0.25),
        tune.qrandint(0, 10, 2),
        tune.randn(0.0, 1.0),
        tune.grid_search([1, 2]),
        tune.sample_from(lambda: 1),
        3,
    ],
    ids=["quantised", "quantised whole", "normal", "grid search", "a function", "a constant"],
)
def test_a_domain_without_counterpart_is_refused(domain: Any) -> None:
    with pytest.raises(InputError):
        dimension_of(domain)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ray(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(InputError, match=r"pip install 'pomona\[ray\]'"):
        param_space(SearchSpace({"x": Integer(0, 4)}))
