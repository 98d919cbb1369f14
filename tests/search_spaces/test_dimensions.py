"""A dimension that makes no sense cannot be built, and one that exists tells inside from outside."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Choice, Dimension, Float, InputError, Integer, Value, When

from ..strategies import dimensions, floats, integers, values, values_of


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: Float(1.0, 0.0), id="bounds the wrong way round"),
        pytest.param(lambda: Float(math.nan, 1.0), id="a bound that is not a number"),
        pytest.param(lambda: Float(0.0, math.inf), id="an infinite bound"),
        pytest.param(lambda: Float(False, True), id="booleans as bounds of a Float"),
        pytest.param(lambda: Float(0.0, 1.0, log=True), id="a logarithmic Float from 0"),
        pytest.param(lambda: Integer(2, 1), id="whole bounds the wrong way round"),
        pytest.param(lambda: Integer(0.5, 2), id="a fraction as bound of an Integer"),  # type: ignore[arg-type]
        pytest.param(lambda: Integer(False, True), id="booleans as bounds of an Integer"),
        pytest.param(lambda: Integer(0, 4, log=True), id="a logarithmic Integer from 0"),
        pytest.param(lambda: Choice(), id="no options"),
        pytest.param(lambda: Choice(1, 2, 1), id="an option twice"),
        pytest.param(lambda: Choice(True, 1), id="options that compare equal"),
        pytest.param(lambda: Choice("a", math.nan), id="an option that is not a number"),
        pytest.param(lambda: Choice(None), id="an option of a foreign type"),  # type: ignore[arg-type]
        pytest.param(lambda: When("", (1,)), id="a condition on nothing"),
        pytest.param(lambda: When("other", ()), id="a condition without values"),
    ],
)
def test_impossible_dimensions_cannot_be_built(build: object) -> None:
    with pytest.raises(InputError) as raised:
        build()  # type: ignore[operator]
    assert "\n" not in str(raised.value)


@given(st.data(), dimensions)
def test_values_inside_are_accepted(data: st.DataObject, dimension: Dimension) -> None:
    assert dimension.problem(data.draw(values_of(dimension))) is None


@given(st.one_of(floats(), integers()))
def test_both_ends_belong_to_a_range(dimension: Float | Integer) -> None:
    assert dimension.problem(dimension.low) is None
    assert dimension.problem(dimension.high) is None


@given(st.one_of(floats(), integers()), st.integers(min_value=1, max_value=2**53))
def test_values_beyond_a_range_are_refused(dimension: Float | Integer, beyond: int) -> None:
    below: Value = dimension.low - beyond
    above: Value = dimension.high + beyond
    if isinstance(dimension, Float):
        below, above = math.nextafter(dimension.low, -math.inf), math.nextafter(dimension.high, math.inf)
    assert dimension.problem(below) is not None
    assert dimension.problem(above) is not None


@given(dimensions)
def test_no_dimension_takes_what_is_not_a_number_or_is_infinite(dimension: Dimension) -> None:
    for value in (math.nan, math.inf, -math.inf, 10**400):
        assert dimension.problem(value) is not None


@given(st.one_of(floats(), integers()), st.booleans())
def test_a_boolean_is_not_a_number(dimension: Float | Integer, value: bool) -> None:
    assert dimension.problem(value) is not None


@given(st.one_of(floats(), integers()), st.text())
def test_a_text_is_not_a_number(dimension: Float | Integer, value: str) -> None:
    assert dimension.problem(value) is not None


def test_a_choice_keeps_true_apart_from_one() -> None:
    assert Choice(1, 2).problem(True) is not None
    assert Choice(True, False).problem(1) is not None
    assert Choice(1, 2).problem(1.0) is None


@given(st.data(), dimensions)
def test_a_value_survives_being_typed_on_a_command_line(data: st.DataObject, dimension: Dimension) -> None:
    value = data.draw(values_of(dimension))
    parsed = dimension.parse(str(value))
    if isinstance(dimension, Choice):
        # Options that read alike ("1" and 1) cannot be told apart in text; the first is taken.
        assert str(parsed) == str(value)
    else:
        assert parsed == value
    assert dimension.problem(parsed) is None


@given(st.one_of(floats(), integers()), st.text(alphabet="xyz%", min_size=1))
def test_text_that_is_no_number_is_left_for_validation_to_name(dimension: Float | Integer, text: str) -> None:
    assert dimension.parse(text) == text
    assert dimension.problem(dimension.parse(text)) is not None


@given(dimensions, st.lists(values, min_size=1, max_size=3))
def test_a_condition_changes_nothing_else(dimension: Dimension, awaited: list[Value]) -> None:
    conditional = dimension.when("other", awaited)
    assert type(conditional) is type(dimension)
    assert conditional.condition == When("other", tuple(awaited))
    assert dimension.condition is None
    assert conditional != dimension


def test_bounds_of_a_float_may_be_given_as_whole_numbers() -> None:
    assert Float(0, 1) == Float(0.0, 1.0)
    assert isinstance(Float(0, 1).low, float)
