"""Losses and metrics: against torch's and scikit-learn's own, and in stacks as alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, r2_score, root_mean_squared_error
from torch import Tensor

from search_spaces import InputError
from training.scoring.objectives import (
    F1,
    R2,
    Accuracy,
    CrossEntropy,
    Loss,
    RootMeanSquaredError,
    SquaredError,
    objective_of,
)

CPU = torch.device("cpu")
SMOOTHINGS = [0.0, 0.15, 0.5]
labels_and_answers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)
numbers = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=40)


def labels_for(loss: Loss, n: int) -> Tensor:
    return torch.randint(0, 3, (n,)) if isinstance(loss, CrossEntropy) else torch.randn(n)


@pytest.mark.parametrize(("loss", "outputs"), [(CrossEntropy(3), 3), (SquaredError(), 1)])
def test_a_stack_has_the_losses_and_gradients_that_autograd_has(loss: Loss, outputs: int) -> None:
    torch.manual_seed(0)
    together, labels = torch.randn(7, len(SMOOTHINGS), outputs), labels_for(loss, 7)
    losses, gradient = loss.stacked(SMOOTHINGS, CPU)(together.clone(), labels)
    for place, smoothing in enumerate(SMOOTHINGS):
        mine = together[:, place].clone().requires_grad_()
        mean = loss.mean(mine, labels, smoothing)
        mean.backward()  # type: ignore[no-untyped-call]
        assert mine.grad is not None
        torch.testing.assert_close(gradient[:, place], mine.grad)
        torch.testing.assert_close(losses[place] / 7, mean.detach())


@pytest.mark.parametrize(("loss", "outputs"), [(CrossEntropy(3), 3), (SquaredError(), 1)])
def test_what_is_reported_of_each_is_the_loss_without_smoothing(loss: Loss, outputs: int) -> None:
    torch.manual_seed(0)
    together, labels = torch.randn(2, 9, outputs), labels_for(loss, 9)
    each = loss.each(together, labels)
    assert each.shape == (2, 9)
    for mine, expected in zip(each, together, strict=True):
        torch.testing.assert_close(mine.mean(), loss.mean(expected, labels, 0.0))


@given(labels_and_answers)
def test_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = torch.tensor(pairs).T
    value = F1(1).value(predictions, labels)
    assert value == pytest.approx(f1_score(labels == 1, predictions == 1, zero_division=0.0))
    estimate = F1(1).estimate(predictions, labels)
    assert estimate.n == len(pairs)
    assert 0 <= estimate.low <= estimate.value == value <= estimate.high <= 1
    assert F1(1).secondary(predictions, labels) == {"accuracy": Accuracy().value(predictions, labels)}


@given(numbers)
def test_numbers_are_scored_as_by_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    labels, predictions = torch.tensor(pairs, dtype=torch.float64).T
    expected = root_mean_squared_error(labels, predictions)
    assert RootMeanSquaredError().value(predictions, labels) == pytest.approx(expected)
    if float(labels.std()) > 1e-6:
        estimate = R2().estimate(predictions, labels)
        assert estimate.value == pytest.approx(r2_score(labels, predictions), abs=1e-9)
        assert estimate.low <= estimate.value <= estimate.high


def test_the_variance_of_equal_labels_is_explained_by_nothing() -> None:
    assert math.isnan(R2().value(torch.ones(4), torch.ones(4)))


def test_more_examples_narrow_the_interval() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(800, generator=generator)
    predictions = labels + 0.1 * torch.randn(800, generator=generator)
    for metric in (R2(), RootMeanSquaredError()):
        few, many = metric.estimate(predictions[:50], labels[:50]), metric.estimate(predictions, labels)
        assert many.high - many.low < (few.high - few.low) / 2


def test_a_metric_names_its_objective() -> None:
    assert objective_of("f1:spam", ("ham", "spam")).metric == F1(1)
    assert objective_of("accuracy", ("a", "b", "c")).outputs == 3
    assert objective_of("rmse", ()).outputs == 1
    for metric, classes in (("f1:eggs", ("ham", "spam")), ("accuracy", ()), ("f1:ham", ("ham",))):
        with pytest.raises(InputError, match="class"):
            objective_of(metric, classes)


@given(labels_and_answers, st.sampled_from([Accuracy(), F1(1)]))
def test_contributions_of_classes_have_the_value_as_their_mean(
    pairs: list[tuple[int, int]], metric: Accuracy | F1
) -> None:
    labels, answers = torch.tensor(pairs).T
    contributions = metric.contributions(answers, labels)
    assert contributions.dtype == torch.float64
    assert float(contributions.mean()) == pytest.approx(metric.value(answers, labels), abs=1e-12)


@given(numbers, st.sampled_from([RootMeanSquaredError(), R2()]))
def test_contributions_of_numbers_have_the_value_as_their_mean(
    pairs: list[tuple[float, float]], metric: RootMeanSquaredError | R2
) -> None:
    labels, answers = torch.tensor(pairs, dtype=torch.float64).T
    mean = float(metric.contributions(answers, labels).mean())
    assert mean == pytest.approx(metric.value(answers, labels), rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", [Accuracy(), F1(1), RootMeanSquaredError(), R2()], ids=lambda m: type(m).__name__)
def test_the_spread_of_contributions_is_that_of_the_value_over_samples(metric: Accuracy | F1 | R2) -> None:
    generator = torch.Generator().manual_seed(0)
    n, samples = 300, 400
    values, errors = [], []
    for _ in range(samples):
        labels = torch.randint(0, 3, (n,), generator=generator)
        wrong = torch.rand(n, generator=generator) < 0.2
        answers = torch.where(wrong, torch.randint(0, 3, (n,), generator=generator), labels)
        if not isinstance(metric, Accuracy | F1):
            answers = labels + 0.5 * torch.randn(n, generator=generator)
            labels = labels.float()
        values.append(metric.value(answers, labels))
        errors.append(float(metric.contributions(answers, labels).std()) / math.sqrt(n))
    assert torch.tensor(values).std().item() == pytest.approx(sum(errors) / samples, rel=0.1)
