"""The metrics without torch say what training says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from studies.scores import Score
from training.scoring.objectives import objective_of

CLASSES = ("a", "b", "c")


@pytest.mark.parametrize("metric", ["accuracy", "f1:b", "rmse", "r2"])
@given(seed=st.integers(0, 10**6), n=st.integers(2, 30), grouped=st.booleans())
def test_they_are_equal(metric: str, seed: int, n: int, grouped: bool) -> None:
    generator = np.random.default_rng(seed)
    numeric = metric in ("rmse", "r2")
    classes = () if numeric else CLASSES
    labels = generator.normal(size=n) if numeric else generator.integers(3, size=n)
    outputs = generator.normal(size=(n, 1 if numeric else 3))
    groups = np.sort(generator.integers(4, size=n)) if grouped else np.zeros(0, np.int64)
    score, objective = Score.of(metric, classes, labels), objective_of(metric, classes)
    answers, true = torch.from_numpy(outputs), torch.from_numpy(labels)
    predictions = objective.metric.predictions(answers)
    assert score.value(outputs) == pytest.approx(objective.metric.value(predictions, true), rel=1e-12)
    assert score.loss(outputs) == pytest.approx(float(objective.loss.each(answers, true).mean()), rel=1e-9)
    expected = objective.metric.grouped(predictions, true, [str(group) for group in groups])
    found = score.grouped(outputs, groups)
    assert found == expected
    if n < 6:  # a bootstrap takes its time
        one, other = score.estimate(outputs), objective.metric.estimate(predictions, true)
        assert (one.value, one.n, *one.ci95) == pytest.approx((other.value, other.n, *other.ci95), rel=1e-12)


def test_a_target_that_is_constant_has_no_r2() -> None:
    assert np.isnan(Score.of("r2", (), np.full(3, 0.1)).value(np.zeros((3, 1))))
