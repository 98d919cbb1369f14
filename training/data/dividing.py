"""A split where the data brings none: by group, stratified, seeded."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError

_FOLDS = 5
# Of the search for a split of groups that hold several classes. A count, as a time would not give one result.
_NODES = 1_000


def divide(labels: Sequence[str], groups: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """True for the fifth that becomes the validation set; examples of one group stay together.

    Every class is on both sides, in about its share of the whole; a class of few groups with one of them at least.

    Raises:
        InputError: some class has too few examples, or too few groups, for that.
    """
    distinct = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    scarce = Counter(name for name, n in distinct.items() if n < 2)
    if not scarce:
        chosen = _fold(labels, groups, seed)
        if chosen is None:
            # Small classes are dealt to the folds in turn, so with several of them none may have them all.
            chosen = _chosen_by_class(labels, groups, seed)
        if chosen is not None:
            return chosen
        scarce = Counter({name: -n for name, n in distinct.items()})
    name = scarce.most_common(1)[0][0]
    members = Counter(labels)
    raise InputError(
        f"class {name!r} is too small to be split (photos: {members[name]}, groups: {distinct[name]}): "
        "add photos, or lay them out as train/ and valid/"
    )


def _fold(labels: Sequence[str], groups: Sequence[str], seed: int) -> NDArray[np.bool_] | None:
    """The first of five stratified folds that has every class on both sides and is of about its size; the first of any
    size where none is. None where none has every class.

    Large groups are dealt first, so that one that is larger than a fold makes the first fold, whatever the seed.
    """
    # A second to import, and the throughput benchmark runs without it.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    members = Counter(labels)
    kind = StratifiedKFold if len(set(groups)) == len(groups) else StratifiedGroupKFold
    # scikit-learn refuses more folds than the largest class has members, or the data groups.
    count = min(_FOLDS, max(members.values()), len(set(groups)))
    folds = kind(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # scikit-learn warns of classes smaller than the number of folds.
        warnings.simplefilter("ignore", UserWarning)
        found = [
            valid
            for train, valid in folds.split(np.zeros(len(labels)), labels, groups)
            if all({labels[i] for i in side} == members.keys() for side in (train, valid))
        ]
    if not found:
        return None
    share = len(labels) / count
    valid = next((fold for fold in found if abs(len(fold) - share) <= share / 2), found[0])
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[valid] = True
    return chosen


def _chosen_by_class(labels: Sequence[str], groups: Sequence[str], seed: int) -> NDArray[np.bool_] | None:
    """Groups of every class, a fifth of its examples where they allow it; None where that can't be.

    Each class has to have two groups.
    """
    holds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        holds[group][label] += 1
    generator = np.random.default_rng(seed)
    names = sorted(holds)
    shuffled = [names[place] for place in generator.permutation(len(names))]
    of_class: defaultdict[str, list[str]] = defaultdict(list)
    for group in shuffled:
        for label in holds[group]:
            of_class[label].append(group)
    # Groups that hold one class are split class by class. Those that hold several are split together, with the only
    # other group of a class where it has no more, as all classes have to come out of that on both sides.
    own = {label: [group for group in of_class[label] if len(holds[group]) == 1] for label in sorted(of_class)}
    chosen: set[str] = set()
    for label, alone in own.items():
        if len(alone) > 1:
            chosen.update(_near_a_fifth({group: holds[group][label] for group in alone}))
    needy = [label for label, alone in own.items() if len(alone) < 2]
    joint = {g: holds[g] for g in shuffled if len(holds[g]) > 1 or any(own[label] == [g] for label in holds[g])}
    if joint:
        found = _joint_choice(joint, needy, generator)
        if found is None:
            return None
        chosen.update(found)
    return np.array([group in chosen for group in groups], dtype=np.bool_)


def _near_a_fifth(sizes: Mapping[str, int]) -> list[str]:
    """Of groups of these sizes, in their order, such as make about a fifth together: one at least, never all."""
    goal, total = sum(sizes.values()) / _FOLDS, 0
    chosen = []
    for group, size in sizes.items():
        if abs(total + size - goal) < abs(total - goal):
            chosen.append(group)
            total += size
    return chosen or [min(sizes, key=sizes.__getitem__)]


def _joint_choice(
    holds: Mapping[str, Mapping[str, int]], needy: Sequence[str], generator: np.random.Generator
) -> list[str] | None:
    """Groups that hold about a fifth of each class, and of each `needy` class one group at least, never all of them.

    None where there is no such choice. It is an integer program: one variable a group, and one a class for how much
    farther it is from its fifth than half of its largest group.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]
    from scipy.sparse import coo_array, eye_array, hstack, vstack  # type: ignore[import-untyped]

    groups = list(holds)
    classes = sorted({label for held in holds.values() for label in held})
    row_of = {label: row for row, label in enumerate(classes)}
    cells = [(row_of[label], column, n) for column, group in enumerate(groups) for label, n in holds[group].items()]
    rows, columns, counts = (np.array(part) for part in zip(*cells, strict=True))
    shape = (len(classes), len(groups))
    amount = coo_array((counts.astype(np.float64), (rows, columns)), shape=shape).tocsr()
    present = coo_array((np.ones(len(cells)), (rows, columns)), shape=shape).tocsr()[[row_of[name] for name in needy]]
    goal, slack = amount.sum(axis=1) / _FOLDS, amount.max(axis=1).toarray() / 2
    excess = eye_array(len(classes))
    endless = np.full(len(classes), np.inf)
    sides = hstack([present, coo_array((len(needy), len(classes)))])
    limits = LinearConstraint(
        vstack([sides, hstack([amount, -excess]), hstack([amount, excess])]).tocsr(),
        np.concatenate([np.ones(len(needy)), -endless, goal - slack]),
        np.concatenate([present.sum(axis=1) - 1, goal + slack, endless]),
    )
    result = milp(
        # Among choices that are near enough, random costs decide.
        np.concatenate([generator.uniform(-1, 1, len(groups)), np.full(len(classes), len(groups))]),
        integrality=np.concatenate([np.ones(len(groups)), np.zeros(len(classes))]),
        bounds=Bounds(0, np.concatenate([np.ones(len(groups)), endless])),
        constraints=limits,
        options={"node_limit": _NODES, "mip_rel_gap": 0.5},
    )
    if result.x is None:
        return None
    return [group for group, value in zip(groups, result.x, strict=False) if value > 0.5]
