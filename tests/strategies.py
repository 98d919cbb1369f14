"""Hypothesis strategies for dimensions, spaces and their configs."""

from __future__ import annotations

from hypothesis import strategies as st

from search_spaces import Choice, Config, Dimension, Float, Integer, SearchSpace, Value

# Beyond these the width of a range is no longer a float, or a whole number not exact as one, which Optuna keeps.
_LARGE = 1e100
_EXACT = 2**53

values: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-_EXACT, _EXACT),
    st.floats(-_LARGE, _LARGE),
    st.text(max_size=8),
)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    log = draw(st.booleans())
    # Adding 0.0 turns -0.0 into 0.0: hypothesis takes no range from 0.0 to -0.0, which are equal otherwise.
    bounds = st.floats(1e-100 if log else -_LARGE, _LARGE).map(lambda bound: bound + 0.0)
    low, high = sorted((draw(bounds), draw(bounds)))
    return Float(low, high, log=log)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    log = draw(st.booleans())
    bounds = st.one_of(st.integers(1 if log else -20, 20), st.integers(1 if log else -_EXACT, _EXACT))
    low, high = sorted((draw(bounds), draw(bounds)))
    return Integer(low, high, log=log)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    # `unique` compares with ==, as Choice does.
    return Choice(*draw(st.lists(values, min_size=1, max_size=5, unique=True)))


dimensions: st.SearchStrategy[Dimension] = st.one_of(floats(), integers(), choices())


def values_of(dimension: Dimension) -> st.SearchStrategy[Value]:
    """Values inside the dimension, its ends included."""
    match dimension:
        case Float(low, high):
            return st.floats(low, high)
        case Integer(low, high):
            return st.integers(low, high)
        case Choice(options):
            return st.sampled_from(options)


@st.composite
def spaces(draw: st.DrawFn, min_size: int = 1, max_size: int = 6) -> SearchSpace:
    """Spaces in which any dimension but the first may wait for any earlier one, chains included."""
    names = draw(
        st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=min_size, max_size=max_size, unique=True)
    )
    space: dict[str, Dimension] = {}
    for name in names:
        dimension = draw(dimensions)
        if len(space) > 0 and draw(st.booleans()):
            other = draw(st.sampled_from(sorted(space)))
            awaited = draw(st.lists(values_of(space[other]), min_size=1, max_size=3))
            dimension = dimension.when(other, awaited)
        space[name] = dimension
    return SearchSpace(space)


@st.composite
def flat_values(draw: st.DrawFn, space: SearchSpace) -> Config:
    """A value for every dimension, active or not, and often one that a condition waits for."""
    result: Config = {}
    for name, dimension in space.dimensions.items():
        awaited = [
            value
            for other in space.dimensions.values()
            if other.condition is not None and other.condition.other == name
            for value in other.condition.is_in
        ]
        choices = [values_of(dimension)] + ([st.sampled_from(awaited)] if awaited else [])
        result[name] = draw(st.one_of(choices))
    return result


@st.composite
def configs(draw: st.DrawFn, space: SearchSpace) -> Config:
    return space.activate(draw(flat_values(space)))
