"""Folds for cross-validation: by group, stratified, seeded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def grouped_folds(
    classes: NDArray[np.int64], groups: NDArray[np.int64], folds: int, *, seed: int
) -> NDArray[np.int64] | None:
    """The fold (n,) of 0..folds-1 of each example; examples of one group are in one fold.

    Groups are dealt in random order, the largest first, each to the fold that has the least of its classes. Without
    groups of several classes no fold then has more of a class than another one but for a group. scikit-learn's
    `StratifiedGroupKFold` does about the same, and takes two seconds to import.

    Args:
        classes: of the examples, (n,), from 0 on; all 0 where labels are numbers.
        groups: (n,), from 0 on.

    Returns:
        None where it can't be: fewer groups than folds, or all of a class in one fold, so that nothing outside of it
        could be learned about that class.
    """
    sizes = np.bincount(groups)
    if np.count_nonzero(sizes) < folds:
        return None
    generator = np.random.default_rng(seed)
    # Sorted by size after a shuffle: equal sizes stay in random order.
    shuffled = generator.permutation(np.flatnonzero(sizes))
    dealt = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    totals = np.bincount(classes)
    counts = np.zeros((folds, len(totals)))
    fold_of_group = np.zeros(len(sizes), dtype=np.int64)
    for group in dealt:
        held = np.bincount(classes[members[group]], minlength=len(totals))
        (there,) = held.nonzero()
        share = (counts[:, there] * (held[there] / totals[there])).sum(1)
        # Of folds with equally much of these classes the one with the fewest examples, so that rare classes spread.
        fold = np.lexsort((counts.sum(1), share))[0]
        counts[fold] += held
        fold_of_group[group] = fold
    if (counts == totals).any(where=totals > 0):
        return None
    return fold_of_group[groups]
