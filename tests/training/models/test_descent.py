"""At which rates stages are first trained, and what those that were tried teach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config, task_named
from studies.strategy import TriedStages
from training.models.descent import first_descent, next_descent

SPACE = task_named("fruit").space


def a_config(stages: int, optimizer: str = "adamw", **more: float | str) -> Config:
    momentum: Config = {"momentum": 0.9} if optimizer == "sgd" else {}
    return {"optimizer": optimizer, "learning_rate": 0.001, "unfrozen_stages": stages, **momentum, **more}


def trained(stages: int, rate: float, error: float | None, optimizer: str = "adamw") -> TriedStages:
    how: Config = {"fine_tune_rate": rate, "fine_tune_share": 0.75, "batch_norm": "batch"}
    return TriedStages(a_config(stages, optimizer) | how, error)


def rate_of(config: Config, *tried: TriedStages) -> float:
    rate = first_descent(SPACE, config, tried)["fine_tune_rate"]
    assert isinstance(rate, float)
    return rate


def test_stages_begin_at_a_rate_that_suits_them_whatever_that_of_the_head() -> None:
    for rate in (1e-3, 1e-2):
        config = {"optimizer": "adamw", "learning_rate": rate, "unfrozen_stages": 2}
        found = first_descent(SPACE, config)
        assert found["fine_tune_rate"] == pytest.approx(1e-4 / rate)
    steps = []
    for momentum in (0.8, 0.98):
        config = {"optimizer": "sgd", "momentum": momentum, "learning_rate": 0.05, "unfrozen_stages": 2}
        rate = first_descent(SPACE, config)["fine_tune_rate"]
        assert isinstance(rate, float)
        steps.append(rate / (1 - momentum))
    assert steps[0] == pytest.approx(steps[1])
    said = {"optimizer": "sgd", "learning_rate": 0.1, "unfrozen_stages": 2, "fine_tune_rate": 0.5}
    assert "fine_tune_rate" not in first_descent(SPACE, said)
    assert first_descent(SPACE, {"optimizer": "sgd", "learning_rate": 0.1, "unfrozen_stages": 0}) == {}


def test_stages_train_as_the_best_with_the_nearest_number_of_stages_did() -> None:
    tried = [trained(3, 0.3, -2.0), trained(3, 0.2, -2.5), trained(5, 0.005, -1.0)]
    for stages, rate in ((1, 0.2), (3, 0.2), (4, 0.005), (5, 0.005)):
        found = first_descent(SPACE, a_config(stages), tried)
        assert found["fine_tune_rate"] == pytest.approx(rate)
        assert (found["fine_tune_share"], found["batch_norm"]) == (0.75, "batch")
    # What the head's rate is does not matter, nor what was tried with another optimizer.
    assert rate_of(a_config(3, learning_rate=0.01), *tried) == pytest.approx(0.02)
    assert rate_of(a_config(3, "sgd"), *tried) == rate_of(a_config(3, "sgd"))


def test_a_rate_that_suits_one_stage_is_not_taken_for_more_where_it_is_above_what_is_sound() -> None:
    usual = rate_of(a_config(2))
    assert rate_of(a_config(2), trained(1, 5 * usual, -3.0)) == pytest.approx(usual)
    assert rate_of(a_config(2), trained(1, usual / 2, -3.0)) == pytest.approx(usual / 2)
    assert rate_of(a_config(2), trained(1, 5 * usual, -3.0), trained(3, usual / 8, -1.0)) == pytest.approx(usual / 8)


def test_the_sound_rate_is_tried_where_all_were_slower() -> None:
    usual = rate_of(a_config(5))
    slow = trained(5, usual / 10, -2.0)
    for stages in (1, 5):
        assert rate_of(a_config(stages), slow) == pytest.approx(usual)
    # Once it was tried, or came to nothing, the slower one may be better.
    assert rate_of(a_config(5), slow, trained(5, usual, -1.0)) == pytest.approx(usual / 10)
    assert rate_of(a_config(5), slow, trained(5, usual, None)) == pytest.approx(usual / 10)


def test_after_stages_that_came_to_nothing_as_many_train_at_a_quarter_of_their_rate() -> None:
    usual = rate_of(a_config(4))
    lost = trained(4, usual, None)
    assert rate_of(a_config(4), lost) == rate_of(a_config(5), lost) == pytest.approx(usual / 4)
    assert rate_of(a_config(3), lost) == usual
    again = trained(4, usual / 4, None)
    assert rate_of(a_config(4), lost, again) == pytest.approx(usual / 16)
    # Fewer stages that came to something say nothing of these; as many, or more, do.
    assert rate_of(a_config(4), lost, trained(3, usual, -2.0)) == pytest.approx(usual / 4)
    for stages in (4, 5):
        came = trained(stages, usual, -2.0)
        assert rate_of(a_config(4), lost, came) == pytest.approx(usual)
        assert rate_of(a_config(4), lost, lost, came) == pytest.approx(usual / 4)
        assert rate_of(a_config(4), lost, lost, trained(stages, usual / 2, -2.0)) == pytest.approx(usual / 2)


def next_rate(config: Config, *tried: TriedStages) -> float | None:
    rate = next_descent(SPACE, config, tried).get("fine_tune_rate")
    assert rate is None or isinstance(rate, float)
    return rate


def test_stages_that_train_once_more_do_at_four_times_the_best_rate_and_at_a_quarter() -> None:
    config, once = a_config(3), trained(3, 0.1, -2.0)
    assert next_rate(config, once) == pytest.approx(0.4)
    assert next_descent(SPACE, config, [once])["fine_tune_share"] == 0.75
    worse = trained(3, 0.4, -1.5)
    assert next_rate(config, once, worse) == pytest.approx(0.025)
    # From the best on; then it is for the sampler to say.
    better = trained(3, 0.4, -2.5)
    assert next_rate(config, once, better) == pytest.approx(1.0)
    assert next_rate(config, once, worse, trained(3, 0.02, -1.0)) is None
    # A rate at which they came to nothing is not passed.
    assert next_rate(config, once, trained(3, 0.3, None)) == pytest.approx(0.025)
    # What was tried of other stages, or with another optimizer, says nothing.
    for other in (trained(2, 0.4, -3.0), trained(3, 0.4, -3.0, "sgd")):
        assert next_rate(config, once, other) == pytest.approx(0.4)
    assert next_rate(config, trained(3, 0.1, None)) is None


TRIED = st.lists(
    st.builds(
        trained,
        st.integers(1, 5),
        st.floats(1e-3, 1.0),
        st.none() | st.floats(-5.0, 0.0),
        st.sampled_from(["adamw", "sgd"]),
    ),
    max_size=8,
)


@given(TRIED, st.integers(1, 5), st.sampled_from(["adamw", "sgd"]))
def test_whatever_was_tried_a_config_is_one_of_the_space(tried: list[TriedStages], stages: int, optimizer: str) -> None:
    config = task_named("fruit").recipe | {"augmentation": 0} | a_config(stages, optimizer)
    config = {name: value for name, value in config.items() if "fine_tune" not in name and name != "batch_norm"}
    config.pop("views", None)
    SPACE.validate(config | first_descent(SPACE, config, tried))
    if varied := next_descent(SPACE, config, tried):
        SPACE.validate(config | varied)
