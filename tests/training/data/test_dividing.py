from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import InputError
from training.data.dividing import _chosen_by_class, divide

ALONE = [1, 7, 9, 14, 23, 26, 31, 32, 39, 47, 57, 58]
PAIRED = [20, 21, 22, 23, 28, 29, 30, 31, 44, 45, 56, 57]

# Groups of one label and, as when a basket is photographed, of several.
examples = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 7)), min_size=2, max_size=40)


def _both_sides(labels: list[str], groups: list[str], valid: Iterable[bool]) -> bool:
    """Whether every class is on both sides, and each group on one."""
    of_group: dict[str, set[bool]] = {}
    of_class: dict[str, set[bool]] = {}
    for label, group, side in zip(labels, groups, valid, strict=True):
        of_group.setdefault(group, set()).add(bool(side))
        of_class.setdefault(label, set()).add(bool(side))
    return all(len(sides) == 1 for sides in of_group.values()) and all(len(sides) == 2 for sides in of_class.values())


def _can_be_split(labels: list[str], groups: list[str]) -> bool:
    """By trying every choice of groups."""
    names = sorted(set(groups))
    choices = (dict(zip(names, sides, strict=True)) for sides in itertools.product((True, False), repeat=len(names)))
    return any(_both_sides(labels, groups, [choice[group] for group in groups]) for choice in choices)


@settings(deadline=None, max_examples=40)
@given(examples, st.integers(0, 5))
def test_groups_stay_whole_and_every_class_is_on_both_sides_or_that_cannot_be(
    examples: list[tuple[str, int]], seed: int
) -> None:
    labels, groups = [label for label, _ in examples], [str(group) for _, group in examples]
    try:
        valid = divide(labels, groups, seed)
    except InputError as problem:
        assert any(f"class {label!r} is too small" in str(problem) for label in labels)  # noqa: PT017
        assert not _can_be_split(labels, groups)
        return
    assert len(valid) == len(labels)
    assert _both_sides(labels, groups, valid)
    assert valid.tolist() == divide(labels, groups, seed).tolist()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(2, 60), min_size=2, max_size=12), st.integers(0, 5))
def test_a_long_tail_is_split_with_a_fifth_of_each_class(sizes: list[int], seed: int) -> None:
    labels = [f"class {i}" for i, size in enumerate(sizes) for _ in range(size)]
    groups = [str(i) for i in range(len(labels))]
    valid = divide(labels, groups, seed)
    assert _both_sides(labels, groups, valid)
    given_up = Counter(label for label, v in zip(labels, valid, strict=True) if v)
    for i, size in enumerate(sizes):
        # Where five folds exist scikit-learn deals the remainders of all classes out together.
        assert abs(given_up[f"class {i}"] - size / 5) <= (1 if max(sizes) >= 5 else size / 2)


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=1, max_size=6).map(tuple), st.integers(0, 5)
)
def test_groups_of_any_size_make_about_a_fifth(sizes: tuple[list[int], ...], seed: int) -> None:
    labels = [f"class {c}" for c, of_class in enumerate(sizes) for size in of_class for _ in range(size)]
    groups = [f"{c} {g}" for c, of_class in enumerate(sizes) for g, size in enumerate(of_class) for _ in range(size)]
    valid = _chosen_by_class(labels, groups, seed)
    assert valid is not None
    assert _both_sides(labels, groups, valid)
    for c, of_class in enumerate(sizes):
        share = sum(v for v, label in zip(valid, labels, strict=True) if label == f"class {c}")
        assert share <= max(sum(of_class) / 5 + max(of_class) / 2, min(of_class))


@pytest.mark.parametrize("sizes", [(60, 3, 3, 3, 3), (60, 2, 2), (2, 2, 2), (40, 7, 5, 4, 3, 3, 2, 2, 2, 2)])
def test_each_small_class_gives_one_example(sizes: tuple[int, ...]) -> None:
    labels = [f"class {i}" for i, size in enumerate(sizes) for _ in range(size)]
    valid = divide(labels, [str(i) for i in range(len(labels))], 0)
    given_up = Counter(label for label, v in zip(labels, valid, strict=True) if v)
    assert [given_up[f"class {i}"] for i in range(len(sizes))] == [max(1, round(size / 5)) for size in sizes]


def test_classes_that_share_all_groups_are_split() -> None:
    baskets = {"g1": "ab", "g2": "bc", "g3": "cd", "g4": "de", "g5": "ea", "g6": "ac"}
    labels, groups = zip(*[(label, group) for group, held in baskets.items() for label in held], strict=True)
    assert _both_sides(list(labels), list(groups), divide(labels, groups, 0))


def test_splits_are_what_studies_on_disk_know() -> None:
    labels = [label for label, count in (("a", 30), ("b", 20), ("c", 9)) for _ in range(count)]
    alone = divide(labels, [str(i) for i in range(59)], 3)
    paired = divide(labels, [str(i // 2) for i in range(59)], 3)
    assert np.flatnonzero(alone).tolist() == ALONE
    assert np.flatnonzero(paired).tolist() == PAIRED


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


@pytest.mark.parametrize("seed", range(4))
def test_a_group_larger_than_a_fold_is_not_the_validation_set(seed: int) -> None:
    """The largest groups are dealt first, whatever the seed."""
    labels = ["a"] * 100 + ["b"] * 100
    groups = ["large"] * 50 + [f"single {number}" for number in range(150)]
    valid = divide(labels, groups, seed)
    assert 0.1 * len(labels) <= valid.sum() <= 0.3 * len(labels)
    assert not valid[0]
    assert _both_sides(labels, groups, valid)
