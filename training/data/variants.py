"""Altered copies of photos, known by their names: what Kaggle's set of fresh and rotten fruit is mostly made of.

Its archive holds every photo several times: as `Screen Shot 2018-06-08 at 4.59.36 PM.png`, and turned, shifted,
mirrored or with noise under the same name after a prefix. Its own split was drawn after that, so copies of one photo
are on both sides, and a model that has learned the photos by heart looks good.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

_PREFIXES = re.compile(r"(?:(?:rotated_by_\d+|saltandpepper|translation|vertical_flip)_)+(?=.)", re.DOTALL)


def original_of(name: str) -> str:
    """The name of the photo that file `name` shows, without prefixes and without its ending.

    Copies may have been saved in another format than their original, so the ending says nothing.
    """
    stem = PurePosixPath(name).stem
    return _PREFIXES.sub("", stem, count=1) if is_variant(name) else stem


def is_variant(name: str) -> bool:
    """Whether file `name` is an altered copy, by its prefix."""
    return _PREFIXES.match(PurePosixPath(name).stem) is not None


def groups_by_name(names: Sequence[str], labels: Sequence[str], splits: Sequence[str]) -> list[str]:
    """For each file the photo it shows, where it or another file shows that one altered; else nothing.

    Only within a class: names are times or numbers, and other classes may have the same. Of splits that each have an
    unaltered file of one name the same is true, and a copy then belongs to the one in its own split.
    """
    originals = [f"{label}/{original_of(name)}" for name, label in zip(names, labels, strict=True)]
    plain: defaultdict[str, set[str]] = defaultdict(set)
    for original, name, split in zip(originals, names, splits, strict=True):
        if not is_variant(name):
            plain[original].add(split)
    keys = [f"{s}/{photo}" if len(plain[photo]) > 1 else photo for photo, s in zip(originals, splits, strict=True)]
    files = Counter(keys)
    altered = {key for key, name in zip(keys, names, strict=True) if is_variant(name)}
    return [key if key in altered and files[key] > 1 else "" for key in keys]


def leaks(groups: Sequence[str], splits: Sequence[str], order: Sequence[str]) -> dict[str, int]:
    """Photos of each split that have a copy in a split before it in `order`; empty where no group is in two splits."""
    where: defaultdict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        if group:
            where[group].add(split)
    place = {split: position for position, split in enumerate(order)}
    first = {group: min(place[split] for split in of_group) for group, of_group in where.items()}
    pairs = zip(groups, splits, strict=True)
    counted = Counter(split for group, split in pairs if group and first[group] < place[split])
    return {split: counted[split] for split in order if counted[split]}
