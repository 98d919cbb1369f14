"""Folds hold each example once and keep groups whole, whatever the labels and groups are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.folds import grouped_folds

examples = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=1, max_size=80)
seeds = st.integers(0, 2**63)


@given(examples, st.integers(2, 6), seeds)
def test_each_example_is_in_one_fold_with_all_of_its_group(pairs: list[tuple[int, int]], folds: int, seed: int) -> None:
    classes, groups = np.array(pairs, dtype=np.int64).T
    found = grouped_folds(classes, groups, folds, seed=seed)
    if found is None:
        return
    assert found.shape == (len(pairs),)
    assert set(found.tolist()) == set(range(folds))
    for group in set(groups.tolist()):
        assert len(set(found[groups == group].tolist())) == 1
    for fold in range(folds):
        assert set(classes[found != fold].tolist()) == set(classes.tolist())
    np.testing.assert_array_equal(found, grouped_folds(classes, groups, folds, seed=seed))


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.integers(2, 5), seeds)
def test_without_groups_every_fold_has_its_share_of_every_class(sizes: list[int], folds: int, seed: int) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    found = grouped_folds(classes, np.arange(len(classes)), folds, seed=seed)
    if len(classes) < folds:
        assert found is None
        return
    assert found is not None
    counts = np.array([np.bincount(classes[found == fold], minlength=len(sizes)) for fold in range(folds)])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_folds_are_of_about_one_size_and_differ_by_seed() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(120), generator.integers(1, 6, 120))
    classes = groups % 6
    found = [grouped_folds(classes, groups, 5, seed=seed) for seed in range(2)]
    for folds in found:
        assert folds is not None
        sizes = np.bincount(folds)
        assert sizes.max() < 1.1 * sizes.min()
        counts = np.array([np.bincount(classes[folds == fold]) for fold in range(5)])
        assert (np.ptp(counts, axis=0) <= 5).all()
    assert not np.array_equal(*found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "groups"),
    [
        pytest.param([0, 0, 0, 1, 1], [0, 0, 1, 2, 3], id="fewer groups than folds"),
        pytest.param([0, 0, 0, 0, 0, 1, 1], [0, 1, 2, 3, 4, 5, 5], id="a class of one group"),
    ],
)
def test_there_are_none_where_a_class_could_not_be_learned(classes: list[int], groups: list[int]) -> None:
    assert grouped_folds(np.array(classes), np.array(groups), 5, seed=0) is None
