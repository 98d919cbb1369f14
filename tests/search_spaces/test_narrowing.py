"""A narrowed space holds what was asked for and nothing else, with its scales and conditions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import FRUIT, Choice, Float, InputError, Integer, Part, SearchSpace, Value

from ..strategies import spaces, values_of

SPACE = SearchSpace(
    {
        "rate": Float(1e-4, 1e-1, log=True),
        "momentum": Float(0.0, 0.98),
        "depth": Integer(0, 5),
        "width": Integer(8, 64, log=True).when("depth", (1, 2, 3)),
        "batch": Choice(16, 32, 64, on_request=(1,)),
        "net": Choice("a", "b", "c"),
        "mixed": Choice(0, 1, "all"),
    }
)


@st.composite
def parts_of(draw: st.DrawFn, space: SearchSpace) -> dict[str, Value | Part]:
    """Of some dimensions a value, some values, or, of those with an order, a range."""
    wanted: dict[str, Value | Part] = {}
    for name in draw(st.sets(st.sampled_from(sorted(space.dimensions)))):
        dimension = space.dimensions[name]
        some = draw(st.lists(values_of(dimension), min_size=1, max_size=4, unique=True))
        forms: list[Value | Part] = [some[0], Part(options=tuple(some))]
        if not isinstance(dimension, Choice):
            numbers = [value for value in some if not isinstance(value, str)]
            forms.append(Part(range=(min(numbers), max(numbers))))
        wanted[name] = draw(st.sampled_from(forms))
    return wanted


@given(st.data())
def test_a_narrowed_space_is_a_part_of_the_space(data: st.DataObject) -> None:
    space = data.draw(spaces())
    wanted = data.draw(parts_of(space))
    narrow = space.narrow(wanted)
    assert set(narrow.dimensions) <= set(space.dimensions)
    for name, dimension in narrow.dimensions.items():
        value = data.draw(values_of(dimension))
        assert space.dimensions[name].problem(value) is None
        match wanted.get(name):
            case None:
                assert type(dimension) is type(space.dimensions[name])
            case Part(range=None, options=options):
                assert value in options
            case Part(range=(low, high)):
                assert not isinstance(value, str)
                assert low <= value <= high
            case one:
                assert value == one
        before = space.dimensions[name].condition
        assert (dimension.condition is None) == (before is None)


@given(st.data())
def test_to_fix_is_to_narrow_to_a_value(data: st.DataObject) -> None:
    space = data.draw(spaces())
    fixed = {name: data.draw(values_of(dimension)) for name, dimension in space.dimensions.items()}
    assert space.fix(fixed) == space.narrow(fixed)
    assert space.narrow({}) == space


@pytest.mark.parametrize(
    ("text", "part", "dimension"),
    [
        ("rate=1e-3..1e-2", Part(range=(1e-3, 1e-2)), Float(1e-3, 1e-2, log=True)),
        ("rate=0.01", 0.01, Choice(0.01)),
        ("momentum=0..0.5", Part(range=(0, 0.5)), Float(0.0, 0.5)),
        ("depth=1..3", Part(range=(1, 3)), Integer(1, 3)),
        ("depth=0,5", Part(options=(0, 5)), Choice(0, 5)),
        ("width=8..16", Part(range=(8, 16)), Integer(8, 16, log=True).when("depth", (1, 2, 3))),
        ("batch=20..100", Part(range=(20, 100)), Choice(32, 64)),
        ("batch=1", 1, Choice(1)),
        ("net=c, a", Part(options=("c", "a")), Choice("c", "a")),
        ("mixed=1,all", Part(options=(1, "all")), Choice(1, "all")),
    ],
)
def test_what_is_typed(text: str, part: Value | Part, dimension: Any) -> None:
    name = text.partition("=")[0]
    assert SPACE.parse_narrowing([text]) == {name: part}
    assert SPACE.narrow({name: part}).dimensions[name] == dimension


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("speed=1..2", "unknown dimension 'speed'"),
        ("rate", "expected dim=value, not 'rate'"),
        ("rate=1e-5..1e-2", "rate must lie in 0.0001 to 0.1, not 1e-05"),
        ("rate=1e-3..1", "rate must lie in 0.0001 to 0.1, not 1"),
        ("rate=1e-2..1e-3", "rate=0.01..0.001 is the wrong way round: 0.01 > 0.001"),
        ("rate=slow..fast", "a range is written low..high, in numbers, not rate=slow..fast"),
        ("rate=..1", "a range is written low..high, in numbers, not rate=..1"),
        ("rate=1e-3...1e-2", "a range is written low..high, with two dots and 0.5 for .5, not rate=1e-3...1e-2"),
        ("rate=0.01,fast", "rate must be a number from 0.0001 to 0.1, not 'fast'"),
        ("rate=0.01,0.01", "rate: a Choice holds 0.01 twice"),
        ("depth=0.5..2", "depth must be a whole number from 0 to 5, not 0.5"),
        ("depth=4..6", "depth must lie in 0 to 5, not 6"),
        ("batch=65..100", "batch has no option from 65 to 100: it has 16, 32, 64"),
        ("batch=16,17", "batch must be one of 16, 32, 64, 1, not '17'"),
        ("net=a..b", "net has no order and so no range: name some of a, b, c"),
        ("net=a,d", "net must be one of a, b, c, not 'd'"),
        ("mixed=0..1", "mixed has no order and so no range: name some of 0, 1, all"),
    ],
)
def test_what_can_not_be_is_one_line(text: str, saying: str) -> None:
    with pytest.raises(InputError) as caught:
        SPACE.narrow(SPACE.parse_narrowing([text]))
    assert str(caught.value).startswith(saying)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("second", ["rate=0.01", "rate=0.02", "rate=1e-3..1e-2", "rate=fast"])
def test_a_dimension_that_is_set_twice_is_refused(second: str) -> None:
    """The last one would win without a word."""
    both = ["rate=0.01", "depth=1", second]
    with pytest.raises(InputError, match=r"^rate is set twice: several values are written dim=a,b$"):
        SPACE.parse_narrowing(both)
    with pytest.raises(InputError, match=r"^rate is set twice: leave one out$"):
        SPACE.parse(both)


def test_a_text_that_is_an_option_is_that_option() -> None:
    odd = SearchSpace({"net": Choice("a,b", "1..2", "a", "b")})
    assert odd.parse_narrowing(["net=a,b"]) == {"net": "a,b"}
    assert odd.parse_narrowing(["net=1..2"]) == {"net": "1..2"}


def test_dimensions_that_can_no_longer_take_part_leave() -> None:
    assert "width" not in SPACE.narrow({"depth": Part(options=(0, 5))}).dimensions
    assert (
        SPACE.narrow({"depth": Part(range=(3, 5))}).dimensions["width"].condition
        == Integer(8, 64).when("depth", (3,)).condition
    )


def test_the_recipe_is_adapted() -> None:
    space = FRUIT.space.narrow({"resolution": Part(options=(96, 128)), "learning_rate": Part(range=(0.01, 0.1))})
    recipe, changes = space.adapt(FRUIT.recipe)
    assert recipe == FRUIT.recipe | {"resolution": 96, "learning_rate": 0.01}
    assert changes == ["resolution 96 for 224", "learning_rate 0.01 for 0.001"]
    assert space.validate(recipe) == recipe


def test_a_part_prints_as_it_is_typed() -> None:
    assert repr(Part(range=(1e-4, 0.01))) == "0.0001..0.01"
    assert repr(Part(options=("a", 2))) == "a,2"


def test_what_is_narrowed_has_to_take_part() -> None:
    space = FRUIT.space
    space.check_narrowing({"optimizer": "sgd", "momentum": 0.9})
    space.check_narrowing({"momentum": 0.9, "augmentation": Part(options=(0, 1)), "views": 4})
    for wanted, lost, counts in (
        ({"optimizer": "adamw", "momentum": 0.9}, "momentum", "optimizer is sgd"),
        ({"augmentation": 0, "views": 4}, "views", "augmentation is 1"),
        ({"unfrozen_stages": 0, "fine_tune_rate": 0.1}, "fine_tune_rate", "unfrozen_stages is"),
    ):
        with pytest.raises(InputError, match=f"{lost} has no meaning here: it counts only where {counts}"):
            space.check_narrowing(wanted)


@pytest.mark.parametrize(
    ("text", "option"), [("0", 0.0), ("0.0", 0.0), (".1", 0.1), ("1e-1", 0.1), ("2", 2), ("2.0", 2), ("x", "x")]
)
def test_a_number_names_an_option_in_whatever_form(text: str, option: object) -> None:
    found = Choice(0.0, 0.1, 2, "x").parse(text)
    assert (found, type(found)) == (option, type(option))


@pytest.mark.parametrize("text", ["nan", "1e999", "True", "y", ""])
def test_what_names_no_option_stays_text(text: str) -> None:
    assert Choice(0.0, True, "x").parse(text) == (True if text == "True" else text)
