"""Equal files in a folder of photos: on both sides of a split, in two classes, in two groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .split_names import SPLITS


class Labelled(Protocol):
    """A photo as `scan` knows it: equal files have equal digests."""

    @property
    def path(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def split(self) -> str: ...

    @property
    def digest(self) -> str: ...


def copies_note(photos: Sequence[Labelled]) -> str:
    """How many photos of each split are equal to photos of one before it, and how many are in two classes.

    One line, or nothing where there are none.
    """
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for photo in photos:
        splits_of[photo.digest].add(photo.split)
        labels_of[photo.digest].add(photo.label)
    sizes = Counter(photo.split for photo in photos)
    notes = []
    for place, split in enumerate(SPLITS):
        earlier = SPLITS[:place]
        equal = [p for p in photos if p.split == split and not splits_of[p.digest].isdisjoint(earlier)]
        if equal:
            where = " or ".join(e for e in earlier if any(e in splits_of[photo.digest] for photo in equal))
            notes.append(f"{len(equal)} of {sizes[split]} {split} photos are equal to photos of {where}")
    if notes:
        notes[-1] += ": figures are too good"
    contradicting = [photo for photo in photos if len(labels_of[photo.digest]) > 1]
    if contradicting:
        first, other = contradicting[0], next(p for p in contradicting if _contradicts(p, contradicting[0]))
        notes.append(
            f"{len(contradicting)} photos are in two classes, such as {first.path!r} and the equal {other.path!r}"
        )
    return "; ".join(notes)


def _contradicts(photo: Labelled, other: Labelled) -> bool:
    return photo.digest == other.digest and photo.label != other.label


def united_groups(groups: Sequence[str], digests: Sequence[str]) -> list[str]:
    """For each photo the name of what has to stay on one side: its group, where it has one, with all equal files.

    Groups that share a file, directly or through others, become one, which has the name of its first. A photo without
    a group ("") and without an equal file that has one is called by its digest.
    """
    plain = [group or digest for group, digest in zip(groups, digests, strict=True)]
    names_of: defaultdict[str, set[str]] = defaultdict(set)
    for name, digest in zip(plain, digests, strict=True):
        names_of[digest].add(name)
    if all(len(names) == 1 for names in names_of.values()):
        return plain
    # Half a second to import, and few folders need it.
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    names, name_of = np.unique(plain, return_inverse=True)
    files, file_of = np.unique(digests, return_inverse=True)
    size = len(names) + len(files)
    edges = coo_array((np.ones(len(plain), np.int8), (name_of, len(names) + file_of)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    given = {group for group in groups if group}
    united: dict[int, str] = {}
    # Names that were given come before digests.
    for name, part in sorted(
        zip(names.tolist(), component.tolist(), strict=False), key=lambda n: (n[0] not in given, n)
    ):
        united.setdefault(part, name)
    return [united[component[place]] for place in name_of.tolist()]
