import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from training.scoring.intervals import accuracy, grouped_accuracy, over_seeds, wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_interval_holds_the_share_and_stays_in_range(case: tuple[int, int]) -> None:
    n, right = case
    interval = wilson(right / n, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low < interval.high


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_wilson_solves_its_own_equation(case: tuple[int, int]) -> None:
    n, right = case
    interval = wilson(right / n, n)
    for bound in interval.ci95:
        if 0 < bound < 1:
            assert math.isclose(
                abs(right / n - bound), 1.959964 * math.sqrt(bound * (1 - bound) / n), rel_tol=1e-4, abs_tol=1e-9
            )


@given(st.floats(0, 1), st.integers(1, 1000))
def test_more_samples_narrow_it(share: float, n: int) -> None:
    few, many = wilson(share, n), wilson(share, 2 * n)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(303, 329, 0.887, 0.946), (313, 329, 0.922, 0.970), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0)],
)
def test_known_intervals(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right / n, n).ci95 == pytest.approx((low, high), abs=1e-3)


def test_313_is_the_first_count_of_329_whose_lower_bound_passes_92_percent() -> None:
    assert wilson(313 / 329, 329).low > 0.92 > wilson(312 / 329, 329).low


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_groups_of_one_change_nothing(correct: list[bool]) -> None:
    alone = grouped_accuracy(correct, [str(number) for number in range(len(correct))])
    assert alone.n == len(correct)
    assert alone.value == pytest.approx(accuracy(correct).value)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(2, 20))
def test_copies_within_a_group_add_no_sample(correct: list[bool], copies: int) -> None:
    groups = [str(number) for number in range(len(correct))]
    once = grouped_accuracy(correct, groups)
    again = grouped_accuracy(correct * copies, groups * copies)
    assert again.n == once.n
    assert again.ci95 == pytest.approx(once.ci95)
    assert accuracy(correct * copies).high - accuracy(correct * copies).low < again.high - again.low


def test_a_share_must_be_one() -> None:
    with pytest.raises(ValueError, match="share"):
        wilson(1.2, 10)
    with pytest.raises(ValueError, match="groups"):
        grouped_accuracy([True], [])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_over_seeds_is_student_s_interval_of_the_mean(values: list[float]) -> None:
    (interval,) = over_seeds([values])
    assert interval is not None
    assert interval.n == len(values)
    assert interval.value == pytest.approx(statistics.fmean(values))
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert interval.ci95 == pytest.approx((interval.value - half, interval.value + half))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_over_seeds_stays_within_what_a_share_can_be(values: list[float]) -> None:
    (interval,) = over_seeds([values], (0.0, 1.0))
    assert (interval is None) == (len(values) == 1)
    if interval is not None:
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


SEEDS = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(st.lists(SEEDS, min_size=1, max_size=5))
def test_over_seeds_of_several_keeps_means_and_draws_spreads_together(values: list[list[float]]) -> None:
    found = over_seeds(values)
    assert [one is None for one in found] == [len(each) == 1 for each in values]
    spreads = [statistics.stdev(each) for each in values if len(each) > 1]
    for each, one in zip(values, found, strict=True):
        if one is None:
            continue
        assert (one.value, one.n) == (pytest.approx(statistics.fmean(each)), len(each))
        # Between the least and the largest spread that any of them has, and surer than by itself.
        half = (one.high - one.low) / 2
        least, most = (
            stats.t.ppf(0.975, freedom) * spread / len(each) ** 0.5
            for freedom, spread in ((len(each) + 3, min(spreads)), (len(each) - 1, max(spreads)))
        )
        assert least - 1e-9 <= half <= most + 1e-9


def test_three_equal_values_by_chance_do_not_win() -> None:
    lucky, better, alike = over_seeds([[0.975, 0.975, 0.975], [0.985, 0.973, 0.979], [0.982, 0.970, 0.982]])
    assert lucky is not None
    assert better is not None
    assert alike is not None
    assert better.low > lucky.low
    (alone,) = over_seeds([[0.975, 0.975, 0.975]])
    assert alone is not None
    assert alone.low == 0.975


@given(st.lists(SEEDS, min_size=1, max_size=5), st.integers(1, 500))
def test_an_interval_over_seeds_is_at_least_that_of_whole_examples(values: list[list[float]], n: int) -> None:
    exact = over_seeds(values)
    stepped = over_seeds(values, steps=[1 / n] * len(values))
    for each, without, with_steps in zip(values, exact, stepped, strict=True):
        if without is None or with_steps is None:
            assert without is with_steps
            continue
        # More is never known of a spread than with the four values that others lend.
        least = stats.t.ppf(0.975, len(each) + 3) / n / 12**0.5 / len(each) ** 0.5
        assert with_steps.value == without.value
        assert with_steps.high - with_steps.low >= max(without.high - without.low, 2 * least) - 1e-9


def test_two_seeds_with_as_many_right_answers_are_not_certain() -> None:
    (alone,) = over_seeds([[332 / 334, 332 / 334]], (0.0, 1.0), [1 / 334])
    assert alone is not None
    assert (round(alone.low, 3), round(alone.high, 3)) == (0.986, 1.0)
