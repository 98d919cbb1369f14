"""Expected gains of structures: what observations must and must not do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.gain import Observation, Point, Surface, _kernel, _variances, expected_gain, gains_in_turn, log_error

PRIOR = -0.4


def point(kind: str, place: float, prior: float = PRIOR) -> Point:
    return Point((kind,), (place,), prior * place)


def test_what_was_observed_without_noise_is_predicted() -> None:
    seen = [Observation(point("a", 0.0), -2.0, 1e-4), Observation(point("a", 1.0), -3.0, 1e-4)]
    mean, deviation = Surface(seen).predict([each.point for each in seen])
    assert mean == pytest.approx([-2.0, -3.0], abs=0.02)
    assert (deviation < 0.05).all()


def test_variances_are_the_diagonal_of_the_covariances() -> None:
    points = [point(kind, place) for kind in "ab" for place in (0.0, 0.3, 1.0)]
    covariance = _kernel(points, points)
    assert np.diag(covariance) == pytest.approx(_variances(points))
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_another_category_and_a_place_far_away_are_less_certain() -> None:
    surface = Surface([Observation(point("a", 0.0), -2.0, 0.01)])
    _, (here, far, other) = surface.predict([point("a", 0.0), point("a", 1.0), point("b", 1.0)])
    assert here < far < other


def test_a_good_category_is_expected_to_be_good_elsewhere() -> None:
    seen = [Observation(point("a", 0.0), -3.0, 0.01), Observation(point("b", 0.0), -1.0, 0.01)]
    good, bad = Surface(seen).predict([point("a", 1.0), point("b", 1.0)])[0]
    assert good < bad


def test_a_noisy_value_counts_less_than_a_sure_one() -> None:
    others = [Observation(point("a", place), -2.0, 0.01) for place in (0.0, 0.5)]
    at = [point("a", 1.0)]
    sure = Surface([*others, Observation(at[0], -4.0, 0.01)]).predict(at)[0][0]
    lucky = Surface([*others, Observation(at[0], -4.0, 1.0)]).predict(at)[0][0]
    assert sure < lucky


@given(st.floats(-6, 0), st.floats(0.01, 2.0), st.floats(-6, 0))
def test_a_gain_is_never_negative_and_grows_with_what_is_not_known(mean: float, spread: float, best: float) -> None:
    narrow, wide = expected_gain(np.array([mean, mean]), np.array([spread, 2 * spread]), best)
    assert 0.0 <= narrow <= wide + 1e-12
    assert narrow >= best - mean - 1e-9


def test_errors_of_shares_are_relative_and_a_perfect_one_is_half_an_example() -> None:
    assert log_error(0.96, "accuracy", "maximize", 100)[0] == pytest.approx(math.log(0.04))
    assert log_error(1.0, "accuracy", "maximize", 100)[0] == pytest.approx(math.log(0.005))
    few, many = (log_error(0.9, "accuracy", "maximize", n)[1] for n in (50, 5000))
    assert many < few


@pytest.mark.parametrize(
    ("metric", "direction", "better", "worse"),
    [("r2", "maximize", 0.99, 0.5), ("rmse", "minimize", 0.1, 2.0), ("accuracy", "maximize", 0.9, 0.8)],
)
def test_better_values_have_smaller_errors(metric: str, direction: str, better: float, worse: float) -> None:
    assert log_error(better, metric, direction, 100)[0] < log_error(worse, metric, direction, 100)[0]


def test_draws_have_the_mean_and_the_deviation_that_are_predicted_and_hang_together() -> None:
    surface = Surface([Observation(point("a", 0.0), -2.0, 0.01)])
    points = [point("a", 0.0), point("a", 0.9), point("a", 1.0), point("b", 1.0)]
    drawn = surface.draws(points, 4000, np.random.default_rng(0))
    mean, deviation = surface.predict(points)
    assert drawn.mean(0) == pytest.approx(mean, abs=1e-9)
    assert drawn.std(0) == pytest.approx(deviation, rel=0.05, abs=0.002)
    correlation = np.corrcoef(drawn.T)
    assert correlation[1, 2] > 0.7 > abs(correlation[1, 3])
    assert (drawn == surface.draws(points, 4000, np.random.default_rng(0))).all()


def test_what_is_alike_gains_no_more_together_than_alone() -> None:
    one = np.random.default_rng(0).standard_normal((1000, 1))
    alike = gains_in_turn(np.repeat(one, 5, axis=1), best=0.0)
    assert alike == pytest.approx(np.repeat(alike[0], 5))
    apart = gains_in_turn(np.random.default_rng(1).standard_normal((1000, 5)), best=0.0)
    assert (np.diff(apart) > 0).all()
    assert apart[4] < 5 * apart[0]
