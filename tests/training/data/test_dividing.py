from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from training.data.dividing import divide

# Groups of one label and, as when a basket is photographed, of several.
examples = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=2, max_size=60)


@given(examples, st.integers(0, 5))
def test_groups_stay_whole_and_every_class_is_on_both_sides_or_the_class_is_named(
    examples: list[tuple[str, int]], seed: int
) -> None:
    labels, groups = [label for label, _ in examples], [str(group) for _, group in examples]
    try:
        valid = divide(labels, groups, seed)
    except InputError as problem:
        assert any(f"class {label!r} is too small" in str(problem) for label in labels)  # noqa: PT017
        return
    assert len(valid) == len(labels)
    sides: dict[str, set[bool]] = {}
    for group, side in zip(groups, valid, strict=True):
        sides.setdefault(group, set()).add(bool(side))
    assert all(len(side) == 1 for side in sides.values())
    for side in (True, False):
        assert {label for label, v in zip(labels, valid, strict=True) if v == side} == set(labels)


@given(st.lists(st.integers(5, 30), min_size=2, max_size=4), st.integers(0, 5))
def test_without_groups_each_class_gives_a_fifth(sizes: list[int], seed: int) -> None:
    labels = [f"class {i}" for i, size in enumerate(sizes) for _ in range(size)]
    valid = divide(labels, [str(i) for i in range(len(labels))], seed)
    given_up = Counter(label for label, v in zip(labels, valid, strict=True) if v)
    for i, size in enumerate(sizes):
        assert abs(given_up[f"class {i}"] - size / 5) <= 1


def test_the_seed_decides() -> None:
    labels, groups = ["a", "b"] * 20, [str(i) for i in range(40)]
    first, again, other = (divide(labels, groups, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("labels", "groups"),
    [(["a"] * 9 + ["b"], [str(i) for i in range(10)]), (["a"] * 9 + ["b"] * 4, [*map(str, range(9)), *"gggg"])],
    ids=["one photo", "one group"],
)
def test_a_class_that_cannot_be_split_is_named(labels: list[str], groups: list[str]) -> None:
    with pytest.raises(InputError, match="class 'b' is too small"):
        divide(labels, groups, 0)
