"""A split where the data brings none: by group, stratified, seeded."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError

_FOLDS = 5


def divide(labels: Sequence[str], groups: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """True for the fifth that becomes the validation set; examples of one group stay together.

    Every class is on both sides, in about its share of the whole.

    Raises:
        InputError: some class has too few examples, or too few groups, for that.
    """
    # A second to import, and the throughput benchmark runs without it.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    members = Counter(labels)
    distinct = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    # Of the folds, the first that has every class on both sides: with small classes not all do.
    scarce = Counter(name for name, n in distinct.items() if n < 2)
    if not scarce:
        kind = StratifiedKFold if len(set(groups)) == len(groups) else StratifiedGroupKFold
        # scikit-learn refuses more folds than the largest class has members, or the data groups.
        count = min(_FOLDS, max(members.values()), len(set(groups)))
        folds = kind(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            # scikit-learn warns of classes smaller than the number of folds.
            warnings.simplefilter("ignore", UserWarning)
            for train, valid in folds.split(np.zeros(len(labels)), labels, groups):
                missing = [name for side in (train, valid) for name in members.keys() - {labels[i] for i in side}]
                if not missing:
                    chosen = np.zeros(len(labels), dtype=np.bool_)
                    chosen[valid] = True
                    return chosen
                scarce.update(missing)
    name = scarce.most_common(1)[0][0]
    raise InputError(
        f"class {name!r} is too small to be split (photos: {members[name]}, groups: {distinct[name]}): "
        "add photos, or lay them out as train/ and valid/"
    )
