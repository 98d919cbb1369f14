"""What a space promises: validation, activation, exchange of dimensions, parsing, a digest that tells it apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces import Choice, Float, InputError, Integer, SearchSpace, Value

from ..strategies import configs, flat_values, spaces, values, values_of

SPACE = SearchSpace(
    {
        "depth": Integer(0, 3),
        "rate": Float(1e-3, 1.0, log=True).when("depth", (1, 2, 3)),
        "shape": Choice("round", "square").when("rate", (1.0,)),
        "size": Choice(16, 32),
    }
)


def space_and(strategy: object) -> st.SearchStrategy[tuple[SearchSpace, dict[str, Value]]]:
    return spaces().flatmap(lambda space: st.tuples(st.just(space), strategy(space)))  # type: ignore[operator]


@given(space_and(configs))
def test_what_activation_leaves_is_valid(pair: tuple[SearchSpace, dict[str, Value]]) -> None:
    space, config = pair
    assert space.validate(config) == config
    assert list(space.validate(config)) == list(space.active(config))


@given(space_and(configs), st.randoms())
def test_validation_puts_names_into_the_space_s_order(
    pair: tuple[SearchSpace, dict[str, Value]], random: object
) -> None:
    space, config = pair
    names = list(config)
    random.shuffle(names)  # type: ignore[attr-defined]
    checked = space.validate({name: config[name] for name in names})
    assert checked == config
    assert list(checked) == [name for name in space.dimensions if name in config]


@given(space_and(flat_values))
def test_activation_is_idempotent_and_takes_values_as_they_are(pair: tuple[SearchSpace, dict[str, Value]]) -> None:
    space, flat = pair
    config = space.activate(flat)
    assert space.activate(config) == config
    assert config.items() <= flat.items()


@given(space_and(flat_values))
def test_a_name_takes_part_exactly_where_its_condition_holds(pair: tuple[SearchSpace, dict[str, Value]]) -> None:
    space, flat = pair
    config = space.activate(flat)
    for name, dimension in space.dimensions.items():
        assert (name in config) == (dimension.condition is None or dimension.condition.holds(config))


@given(space_and(configs), st.data())
def test_a_missing_name_is_refused(pair: tuple[SearchSpace, dict[str, Value]], data: st.DataObject) -> None:
    space, config = pair
    gone = data.draw(st.sampled_from(sorted(config)))
    with pytest.raises(InputError, match=rf"^{gone} is missing$"):
        space.validate({name: value for name, value in config.items() if name != gone})


@given(space_and(flat_values))
def test_an_inactive_name_is_refused_by_name(pair: tuple[SearchSpace, dict[str, Value]]) -> None:
    space, flat = pair
    config = space.activate(flat)
    inactive = [name for name in space.dimensions if name not in config]
    assume(inactive)
    with pytest.raises(InputError, match=rf"^{inactive[0]} has no meaning here"):
        space.validate({**config, inactive[0]: flat[inactive[0]]})


@given(space_and(configs), st.data())
def test_a_value_outside_its_dimension_is_refused(
    pair: tuple[SearchSpace, dict[str, Value]], data: st.DataObject
) -> None:
    space, config = pair
    # The last active name: nothing that takes part waits for it.
    name = list(config)[-1]
    value = data.draw(values)
    assume(space.dimensions[name].problem(value) is not None)
    assume(space.active({**config, name: value}) == tuple(config))
    with pytest.raises(InputError, match=rf"^{name} must"):
        space.validate({**config, name: value})


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="unknown dimension 'colour'; the space has depth, rate, shape, size"):
        SPACE.validate({"depth": 0, "size": 16, "colour": "red"})


@given(spaces())
def test_replacing_nothing_changes_nothing(space: SearchSpace) -> None:
    assert space.replace() == space
    assert space.replace(**space.dimensions) == space


@given(space_and(configs))
def test_a_space_fixed_at_a_config_has_that_config_alone(pair: tuple[SearchSpace, dict[str, Value]]) -> None:
    space, config = pair
    fixed = space.fix(config)
    assert fixed.validate(config) == config
    assert set(fixed.dimensions) == set(config)
    assert all(isinstance(d, Choice) and d.options == (config[name],) for name, d in fixed.dimensions.items())


@given(space_and(configs), st.data())
def test_what_a_fixed_space_holds_the_whole_space_holds(
    pair: tuple[SearchSpace, dict[str, Value]], data: st.DataObject
) -> None:
    space, config = pair
    name = data.draw(st.sampled_from(sorted(config)))
    fixed = space.fix({name: config[name]})
    assert fixed.validate(config) == config
    other = data.draw(configs(fixed))
    assert space.validate(other) == other


@given(spaces(), st.data())
def test_fixing_outside_a_dimension_is_refused(space: SearchSpace, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(space.dimensions)))
    value = data.draw(values)
    assume(space.dimensions[name].problem(value) is not None)
    with pytest.raises(InputError, match=rf"^{name} must"):
        space.fix({name: value})


def test_replacing_drops_what_can_no_longer_take_part() -> None:
    assert set(SPACE.fix({"depth": 0}).dimensions) == {"depth", "size"}
    assert set(SPACE.fix({"depth": 2}).dimensions) == {"depth", "rate", "shape", "size"}
    narrowed = SPACE.replace(depth=Integer(0, 1)).dimensions["rate"].condition
    assert narrowed is not None
    assert narrowed.is_in == (1,)


def test_a_replacement_keeps_the_old_condition_or_has_its_own() -> None:
    kept = SPACE.replace(rate=Float(0.5, 0.6)).dimensions["rate"]
    assert kept.condition == SPACE.dimensions["rate"].condition
    own = SPACE.replace(rate=Float(0.5, 0.6).when("depth", (2,))).dimensions["rate"]
    assert own.condition is not None
    assert own.condition.is_in == (2,)


@pytest.mark.parametrize(
    ("condition", "saying"),
    [
        (("colour", ("red",)), "does not stand before"),
        (("size", (16,)), "does not stand before"),
        (("depth", (9,)), ""),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(condition: tuple[str, tuple[Value, ...]], saying: str) -> None:
    with pytest.raises(InputError, match=saying or "waits for a value that cannot come"):
        SPACE.replace(rate=Float(0.5, 0.6).when(*condition))


@given(spaces(), st.data())
def test_an_adapted_recipe_lies_in_the_space_and_keeps_what_it_can(space: SearchSpace, data: st.DataObject) -> None:
    recipe = data.draw(st.dictionaries(st.sampled_from(sorted(space.dimensions)) | st.just("colour"), values))
    adapted, changes = space.adapt(recipe)
    assert space.validate(adapted) == adapted
    for name, value in adapted.items():
        if name in recipe and space.dimensions[name].problem(recipe[name]) is None:
            assert value == recipe[name]
        else:
            assert any(change.startswith(f"{name} ") for change in changes) or value == recipe.get(name)


@pytest.mark.parametrize("change", [lambda: SPACE.replace(colour=Choice(1)), lambda: SPACE.fix({"colour": 1})])
def test_changing_an_unknown_dimension_is_refused(change: object) -> None:
    with pytest.raises(InputError, match="unknown dimension 'colour'"):
        change()  # type: ignore[operator]


@given(space_and(configs))
def test_numbers_and_texts_survive_the_command_line(pair: tuple[SearchSpace, dict[str, Value]]) -> None:
    space, config = pair
    alike = {name for name, d in space.dimensions.items() if isinstance(d, Choice) and _reads_alike(d)}
    parsed = space.parse([f"{name}={value}" for name, value in config.items()])
    assert {n: v for n, v in parsed.items() if n not in alike} == {n: v for n, v in config.items() if n not in alike}


def _reads_alike(choice: Choice) -> bool:
    return len({str(option) for option in choice.options}) < len(choice.options)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [("depth", "expected dim=value, not 'depth'"), ("colour=red", "unknown dimension 'colour'")],
)
def test_assignments_that_cannot_be_read_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.parse([assignment])


def test_a_value_may_hold_an_equals_sign() -> None:
    assert SearchSpace({"text": Choice("a=b", "c")}).parse(["text=a=b"]) == {"text": "a=b"}


@given(spaces())
def test_equal_spaces_have_one_digest_and_one_hash(space: SearchSpace) -> None:
    twin = SearchSpace(dict(space.dimensions))
    assert (twin, twin.digest, hash(twin)) == (space, space.digest, hash(space))
    assert len(space.digest) == 16
    assert int(space.digest, 16) >= 0


@given(spaces(min_size=2), st.data())
def test_any_change_changes_the_digest(space: SearchSpace, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(space.dimensions)))
    dimension = space.dimensions[name]
    if isinstance(dimension, Float):
        changed = SearchSpace({**space.dimensions, name: replace(dimension, high=dimension.high * 2 + 1e101)})
    elif isinstance(dimension, Integer):
        changed = SearchSpace({**space.dimensions, name: replace(dimension, high=dimension.high + 1)})
    else:
        changed = SearchSpace(
            {**space.dimensions, name: Choice(*dimension.options, "one option more", condition=dimension.condition)}
        )
    assert changed.digest != space.digest


def test_order_counts_in_the_digest() -> None:
    one, other = Integer(0, 1), Integer(0, 2)
    assert SearchSpace({"a": one, "b": other}).digest != SearchSpace({"b": other, "a": one}).digest


def test_type_counts_in_the_digest() -> None:
    assert SearchSpace({"a": Integer(1, 2)}).digest != SearchSpace({"a": Float(1, 2)}).digest


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        pytest.param({"b": Choice(1).when("a", [1]), "a": Choice(1)}, "b depends on 'a'", id="a later dimension"),
        pytest.param({"a": Choice(1).when("a", [1])}, "a depends on 'a'", id="itself"),
        pytest.param({"a": Choice(1), "b": Choice(1).when("a", [2])}, "waits for a value", id="a value never taken"),
        pytest.param({"no name": Choice(1)}, "must be an identifier", id="a name with a space"),
    ],
)
def test_impossible_spaces_cannot_be_built(dimensions: dict[str, Choice], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchSpace(dimensions)


@given(spaces())
def test_a_space_cannot_be_changed_from_outside(space: SearchSpace) -> None:
    given_dimensions = dict(space.dimensions)
    twin = SearchSpace(given_dimensions)
    given_dimensions["later"] = Choice(1)
    assert twin == space
    with pytest.raises(TypeError):
        space.dimensions["later"] = Choice(1)  # type: ignore[index]


def test_a_chain_of_conditions_is_followed() -> None:
    flat: dict[str, Value] = {"depth": 1, "rate": 1.0, "shape": "round", "size": 16}
    assert SPACE.active(flat) == ("depth", "rate", "shape", "size")
    # The rate is inactive, so what waits for one of its values is inactive too.
    assert SPACE.active({**flat, "depth": 0}) == ("depth", "size")
    assert SPACE.active({**flat, "rate": 0.5}) == ("depth", "rate", "size")


@given(spaces(), st.data())
def test_every_value_of_every_dimension_is_reachable(space: SearchSpace, data: st.DataObject) -> None:
    first = next(iter(space.dimensions))
    value = data.draw(values_of(space.dimensions[first]))
    fixed = space.fix({first: value})
    config = data.draw(configs(fixed))
    assert config[first] == value
    assert space.validate(config) == config
