"""Which trials are averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.ensemble import MOST_DRAWS, MOST_MEMBERS, select
from studies.scores import Score
from training.lanes.results import Outputs

CLASSES = ("a", "b", "c")
DIRECTIONS = {"accuracy": "maximize", "f1:b": "maximize", "rmse": "minimize", "r2": "maximize"}


def outputs_of(values: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Outputs:
    return Outputs(values, labels, np.zeros(0, np.int64), classes, "which")


@st.composite
def studies_of(draw: st.DrawFn) -> tuple[str, dict[int, Outputs]]:
    """A metric, and outputs of trials that are right now and then."""
    metric = draw(st.sampled_from(sorted(DIRECTIONS)))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, count, noise = draw(st.integers(3, 25)), draw(st.integers(1, 9)), draw(st.sampled_from([0.3, 1.0, 3.0]))
    numbers = draw(st.lists(st.integers(0, 40), min_size=count, max_size=count, unique=True))
    if metric in ("rmse", "r2"):
        labels = generator.normal(size=n)
        return metric, {
            number: outputs_of((labels + noise * generator.normal(size=n))[:, None].astype(np.float32), labels, ())
            for number in numbers
        }
    labels = generator.integers(3, size=n)
    right = np.eye(3)[labels]
    # Some trials were scored on changed forms of the examples too.
    forms, scored = draw(st.integers(1, 3)), draw(st.sets(st.sampled_from(numbers)))

    def said(*forms: int) -> np.ndarray:
        return (right + noise * generator.normal(size=(*forms, n, 3))).astype(np.float32)

    outputs = {number: outputs_of(said(), labels) for number in numbers}
    return metric, {
        number: replace(one, shifted=said(forms)) if number in scored else one for number, one in outputs.items()
    }


@settings(deadline=None)
@given(studies_of(), st.integers(1, 3))
def test_it_is_never_worse_than_the_best_of_them_alone(study: tuple[str, dict[int, Outputs]], count: int) -> None:
    metric, outputs = study
    kinds = {number: str(number % count) for number in outputs}
    selection = select(outputs, metric, DIRECTIONS[metric], kinds)
    if selection is None:
        return
    one = next(iter(outputs.values()))
    score = Score.of(metric, one.classes, one.labels)
    alone = [score.value(other.values.astype(np.float64)) for other in outputs.values()]
    if DIRECTIONS[metric] == "maximize":
        assert selection.value >= max(alone)
    else:
        assert selection.value <= min(alone)


@settings(deadline=None)
@given(studies_of())
def test_weights_are_shares_of_the_draws(study: tuple[str, dict[int, Outputs]]) -> None:
    metric, outputs = study
    selection = select(outputs, metric, DIRECTIONS[metric])
    if selection is None:
        return
    assert sum(selection.weights.values()) == pytest.approx(1.0)
    assert 2 <= len(selection.weights) <= MOST_MEMBERS
    assert set(selection.weights) <= set(outputs)
    assert list(selection.weights) == sorted(selection.weights)
    assert min(selection.weights.values()) >= 1 / MOST_DRAWS
    # Its value is that of the mean, and of nothing else.
    one = next(iter(outputs.values()))
    mean = sum(weight * outputs[number].values.astype(np.float64) for number, weight in selection.weights.items())
    assert selection.value == pytest.approx(Score.of(metric, one.classes, one.labels).value(mean))


@settings(deadline=None)
@given(studies_of(), st.randoms())
def test_the_order_of_trials_and_of_draws_does_not_matter(
    study: tuple[str, dict[int, Outputs]], random: object
) -> None:
    metric, outputs = study
    numbers = list(outputs)
    random.shuffle(numbers)  # type: ignore[attr-defined]
    shuffled = {number: outputs[number] for number in numbers}
    assert select(shuffled, metric, DIRECTIONS[metric]) == select(outputs, metric, DIRECTIONS[metric])


def test_trials_that_are_wrong_on_different_examples_help_each_other() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    sure, unsure = 3 * np.eye(3)[labels], 1.0 * np.eye(3)[(labels + 1) % 3]
    values = {number: np.where(np.arange(6)[:, None] % 3 == number, unsure, sure) for number in range(3)}
    selection = select({n: outputs_of(one, labels) for n, one in values.items()}, "accuracy", "maximize")
    assert selection is not None
    assert selection.value == 1.0
    assert (selection.estimate.n, selection.grouped) == (6, None)


def test_the_best_of_each_kind_are_averaged_where_the_best_few_are_alike() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    # The alike ones are wrong about the first two examples, the other one about two more, and it is sure elsewhere.
    alike = np.where(np.arange(6)[:, None] < 2, np.eye(3)[(labels + 1) % 3], 4 * np.eye(3)[labels])
    other = np.where(np.isin(np.arange(6), (2, 3, 4))[:, None], np.eye(3)[(labels + 1) % 3], 4 * np.eye(3)[labels])
    outputs = {n: outputs_of(alike + 0.01 * n, labels) for n in range(5)} | {9: outputs_of(other, labels)}
    kinds = dict.fromkeys(range(5), "a") | {9: "b"}
    selection = select(outputs, "accuracy", "maximize", kinds)
    assert selection is not None
    assert selection.value == 1.0
    assert selection.weights[9] > 0.25


def test_one_that_is_best_alone_is_no_ensemble() -> None:
    labels = np.array([0, 1, 2])
    perfect, wrong = outputs_of(9 * np.eye(3), labels), outputs_of(9 * np.eye(3)[[1, 2, 0]], labels)
    assert select({1: perfect, 2: wrong}, "accuracy", "maximize") is None
    assert select({1: perfect}, "accuracy", "maximize") is None
    assert select({}, "accuracy", "maximize") is None


def test_equal_outputs_are_no_ensemble() -> None:
    labels = np.array([0, 1, 2, 0])
    one = outputs_of(np.random.default_rng(0).normal(size=(4, 3)), labels)
    assert select({1: one, 2: one, 5: one}, "accuracy", "maximize") is None


def test_outputs_of_other_examples_are_left_out() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    generator = np.random.default_rng(1)
    same = {n: outputs_of(np.eye(3)[labels] + generator.normal(size=(6, 3)), labels) for n in range(4)}
    other = {9: replace(outputs_of(9 * np.eye(3)[labels], labels), split="another")}
    broken = {8: outputs_of(np.full((6, 3), np.nan), labels)}
    assert select(same | other | broken, "accuracy", "maximize") == select(same, "accuracy", "maximize")


def test_a_small_gain_is_not_worth_a_member() -> None:
    labels = np.arange(50.0)
    noise = np.random.default_rng(0).normal(size=50)
    near = {n: outputs_of((labels + (1 + 1e-3 * n) * noise)[:, None], labels, ()) for n in range(3)}
    assert select(near, "rmse", "minimize") is None
    other = {3: outputs_of((labels - noise)[:, None], labels, ())}
    selection = select(near | other, "rmse", "minimize")
    assert selection is not None
    assert selection.value < 0.01


def test_groups_get_an_interval_of_their_own() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    sure, unsure = 3 * np.eye(3)[labels], 1.0 * np.eye(3)[(labels + 1) % 3]
    values = {number: np.where(np.arange(6)[:, None] % 3 == number, unsure, sure) for number in range(3)}
    grouped = {n: replace(outputs_of(one, labels), groups=np.arange(6) // 2) for n, one in values.items()}
    selection = select(grouped, "accuracy", "maximize")
    assert selection is not None
    assert selection.grouped is not None
    assert selection.grouped.n == 3


def test_what_is_right_on_changed_examples_decides_between_what_is_right_on_all() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    right, wrong = 3 * np.eye(3)[labels], 3 * np.eye(3)[(labels + 1) % 3]
    # Each is right on a half of the changed ones, and unsure of the others; 0 and 1 are more certain than 2 and 3.
    halves = [np.arange(6) < 3, np.arange(6) < 3, np.arange(6) < 3, np.arange(6) >= 3]
    outputs = {}
    for number, half in enumerate(halves):
        sure = 9 if number < 2 else 1
        shifted = np.where(half[:, None], right, 0.5 * wrong)[None]
        outputs[number] = replace(outputs_of(sure * right + 0.01 * number, labels), shifted=shifted)
    selection = select(outputs, "accuracy", "maximize")
    assert selection is not None
    assert 3 in selection.weights
    assert selection.value == 1.0
    # Without them nothing is gained by any mean.
    assert select({n: replace(one, shifted=None) for n, one in outputs.items()}, "accuracy", "maximize") is None


def test_changed_examples_never_cost_what_the_examples_say() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    right, wrong = 3 * np.eye(3)[labels], 3 * np.eye(3)[(labels + 1) % 3]
    good = outputs_of(right, labels)
    # Right on changed ones and wrong on two as they are, for the mean of both too.
    poor = replace(outputs_of(np.where(np.arange(6)[:, None] < 2, 9 * wrong, right), labels), shifted=right[None])
    other = replace(poor, shifted=np.where(np.arange(6)[:, None] < 1, wrong, right)[None])
    assert select({1: poor, 2: other, 3: good}, "accuracy", "maximize") is None
    # Of other shapes, of one trial alone, or not finite, they say nothing.
    for shifted in (right, right[None, :3], np.full((1, 6, 3), np.nan)):
        odd = {1: replace(poor, shifted=shifted), 2: other, 3: good}
        assert select(odd, "accuracy", "maximize") is None


def test_nobody_waits_for_many_changed_examples() -> None:
    n = 6_000
    labels = np.arange(n) % 3
    right = np.eye(3)[labels]
    noise = np.random.default_rng(0)
    plain = {number: outputs_of(right + noise.normal(size=(n, 3)), labels) for number in range(3)}
    outputs = {number: replace(one, shifted=np.zeros((5, n, 3))) for number, one in plain.items()}
    assert select(outputs, "accuracy", "maximize") == select(plain, "accuracy", "maximize")
