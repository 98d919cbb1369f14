"""Folders of photos: what is in them, how they are split, and their pixels at a resolution."""

from __future__ import annotations

import os
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search_spaces import InputError

from ..machine.display import display_name
from ..machine.threads import Progress, in_threads, usable_cores
from .accents import written_as
from .contents import ContentIndex
from .copies import copies_note, united_groups
from .decode import DECODING, decoded, decoder, is_decoded
from .dividing import divide
from .layout import SPLITS, Found, arrange_photos
from .pictures import square
from .splits import Labelled, Split, Splits, identities_of, short_digest

# So many photos a core tell how long reading them takes.
_FEW = 3
TRUST_SPLIT = "trust-split"
"""Before a folder, as in trust-split:DIR: the location of one whose own split is kept against advice."""


@dataclass(frozen=True)
class Photo:
    """A readable photo: `path` relative to its folder, `digest` the sha256 of its bytes, `group` empty if unknown."""

    path: str
    label: str
    split: str
    group: str
    digest: str


@dataclass(frozen=True)
class PhotoSet:
    """A folder of photos, split but not decoded. `skipped` names the files that could not be read.

    `source` names it in tables, `location` is what opens it again. `note` says what has to be known of the split.
    """

    root: Path
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    source: str
    location: str
    skipped: tuple[str, ...]
    note: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with contents, labels, groups and split, not with where the files lie."""
        return short_digest([list(self.classes), sorted([p.digest, p.label, p.split, p.group] for p in self.photos)])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Photos of each class in each split."""
        counted = Counter((photo.split, photo.label) for photo in self.photos)
        present = {split for split, _ in counted}
        return {s: {label: counted[s, label] for label in self.classes} for s in SPLITS if s in present}

    def keys(self, split: str) -> tuple[str, ...]:
        """As `Split.keys`, at every resolution; nothing is decoded for them."""
        return tuple(map(_key, (photo for photo in self.photos if photo.split == split)))

    def summary(self) -> str:
        """One line for people."""
        sizes = ", ".join(f"{split} {sum(classes.values())}" for split, classes in self.counts.items())
        groups = {photo.group for photo in self.photos if photo.group}
        parts = [f"{self.source}: {sizes} photos of {len(self.classes)} classes"]
        if groups:
            parts.append(f"{len(groups)} groups")
        if self.skipped:
            parts.append(_left_out(self.skipped))
        return ", ".join(parts) + f" (fingerprint {self.fingerprint})" + (f"; {self.note}" if self.note else "")

    def reading_seconds(self, resolution: int) -> float:
        """What `at` takes a photo, all cores at it, by a few that are read now; 0 where the cache has them.

        A photo of a phone takes a hundred times as long as a thumbnail.
        """
        if is_decoded({photo.digest for photo in self.photos}, resolution):
            return 0.0
        paths = [self.root / photo.path for photo in self.photos]
        step = max(len(paths) // (_FEW * usable_cores()), 1)
        try:
            read_photos(paths[:1], resolution)  # which loads what reads photos
            began = time.perf_counter()
            read_photos(some := paths[::step], resolution)
        except InputError:
            return 0.0  # `at` says what has become of it
        return (time.perf_counter() - began) / len(some)

    def at(self, resolution: int, *, workers: int | None = None, progress: Progress | None = None) -> Splits:
        """The photos as uint8 squares of `resolution` pixels a side, decoded now or taken from the cache.

        Raises:
            InputError: a file changed since the folder was read, or the cache can't be written.
        """
        parts = {split: [p for p in self.photos if p.split == split] for split in self.counts}
        pool = _decoded(self.root, self.photos, resolution, workers, progress)
        splits = {split: _split(photos, self.classes, *pool) for split, photos in parts.items()}
        return Splits(
            train=splits["train"],
            valid=splits["valid"],
            test=splits.get("test"),
            classes=self.classes,
            fingerprint=short_digest([self.fingerprint, DECODING, resolution]),
            source=self.source,
            location=self.location,
        )


def scan(
    folder: Path,
    *,
    seed: int = 0,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    source: str | None = None,
    location: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PhotoSet:
    """The photos of a folder, every one of them known to be readable, in train and valid and perhaps test.

    Where the folder has no `valid`, a fifth of its other photos becomes it: by group, stratified, by `seed`; equal
    files count as one group, as do altered copies of a photo (see `variants`). Where such copies are in several splits
    all photos are divided like that, unless `trust_split`. `source` names the data in tables, the folder's name unless
    given; `location` opens it again, the folder's path unless given.

    Raises:
        InputError: the folder is missing or laid out wrongly, classes or groups do not fit the splits, or files can't
            be read and are not to be skipped.
    """
    arranged = arrange_photos(folder, trust_split=trust_split)
    root = folder.resolve()
    _check(arranged.photos)
    index = ContentIndex(root)
    photos, skipped = _readable(root, index, arranged.photos, skip_unreadable, workers, progress)
    _check_none_vanished(arranged.photos, photos)
    if all(photo.split != "valid" for photo in photos):
        photos = _divided(photos, seed)
    if skipped:
        _check(photos)
    index.save()
    return PhotoSet(
        root=root,
        photos=tuple(photos),
        classes=tuple(sorted({photo.label for photo in photos})),
        source=source or display_name(root.name),
        location=location or (f"{TRUST_SPLIT}:{root}" if arranged.trusted else str(root)),
        skipped=skipped,
        note="; ".join(filter(None, (copies_note(photos), arranged.note))),
    )


def _left_out(skipped: Sequence[str]) -> str:
    return f"{len(skipped)} unreadable files left out, the first of them {skipped[0]!r}"


def _check_none_vanished(found: Sequence[Found], readable: Sequence[Photo]) -> None:
    """Raises InputError where nothing of a split that is the user's own can be read: another would take its place."""
    left = {photo.split for photo in readable}
    for split in ("valid", "test"):
        count = sum(photo.split == split for photo in found)
        if count and split not in left:
            raise InputError(f"none of the {count} photos in {split} can be read: convert them, or move {split} away")


def labelled_photos(
    folder: Path,
    classes: Sequence[str],
    split: str | None,
    resolution: int,
    *,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Labelled:
    """One split of a folder, `valid` unless given, labelled by position in `classes`; they may be absent from it.
    Other splits may be absent too.

    Where the folder has no `valid`, or its split can't be used, `valid` and `train` are both all that `scan` divides:
    which of it is which, only a checkpoint that was trained on it knows.

    Raises:
        InputError: as from `scan`, or the folder has a class that is not in `classes`, or not that split.
    """
    arranged = arrange_photos(folder, trust_split=trust_split, to_train=False)
    root = folder.resolve()
    present = [name for name in SPLITS if any(photo.split == name for photo in arranged.photos)]
    wanted = split or "valid"
    undivided = "valid" not in present and wanted != "test"
    if undivided:
        found = [photo for photo in arranged.photos if photo.split != "test"]
    else:
        found = [photo for photo in arranged.photos if photo.split == wanted]
    if not found:
        has = f"it has {' and '.join(present)}" if present else "it has none"
        if arranged.anew:
            has = "its own one is not used, as it tears copies of photos apart (--trust-split keeps it)"
        way = "leave the split out, or name another one" if split else "name that one, or other data"
        raise InputError(f"{str(folder)!r} has no split {wanted!r}, {has}: {way}")
    labels = written_as(classes, [photo.label for photo in found])
    found = [replace(photo, label=label) for photo, label in zip(found, labels, strict=True)]
    if unknown := sorted({photo.label for photo in found} - set(classes)):
        raise InputError(f"{str(folder)!r} has class {unknown[0]!r}, which is none of {', '.join(classes)}")
    index = ContentIndex(root)
    photos, skipped = _readable(root, index, found, skip_unreadable, workers, progress)
    if not photos:
        raise InputError(f"{str(folder)!r} holds no photo that can be read")
    index.save()
    pool, rows = _decoded(root, photos, resolution, workers, progress)
    note = "; ".join(filter(None, (_left_out(skipped) if skipped else "", arranged.note)))
    return Labelled(_split(photos, classes, pool, rows), "" if undivided else wanted, note)


def read_photos(paths: Sequence[Path], resolution: int) -> Tensor:
    """Single photos as uint8 (n, resolution, resolution, 3), not cached.

    Raises:
        InputError: files are missing or no pictures; it says how many, and names the first.
    """
    read = in_threads(lambda path: _pixels(path, resolution), paths)
    problems = [(path, why) for path, why in zip(paths, read, strict=True) if isinstance(why, str)]
    if len(paths) == 1 and problems:
        raise InputError(_cannot_read(*problems[0]))
    if problems:
        some = ", ".join(f"{str(path)!r} ({why})" for path, why in problems[:3]) + (", ..." if problems[3:] else "")
        raise InputError(
            f"cannot read {len(problems)} of {len(paths)} files: {some}: repair them, or leave them out with "
            "--skip-unreadable"
        )
    return torch.stack([pixels for pixels in read if not isinstance(pixels, str)])


def unreadable_photos(paths: Sequence[Path]) -> dict[Path, str]:
    """The files that are missing or no pictures, each with what `read_photos` says of it alone."""
    read = in_threads(lambda path: _pixels(path, 1), paths)
    return {path: _cannot_read(path, why) for path, why in zip(paths, read, strict=True) if isinstance(why, str)}


def _pixels(path: Path, resolution: int) -> Tensor | str:
    """The photo at `path`, or why there is none."""
    try:
        return torch.from_numpy(square(path.read_bytes(), resolution).copy())
    except OSError as problem:
        if os.path.isdir(path):
            return f"it is a folder, name its files: {path}/*"
        return problem.strerror or "it is no whole picture"
    except Exception as problem:
        return " ".join(str(problem).split()) or type(problem).__name__


def _cannot_read(path: Path, why: str) -> str:
    return f"cannot read {str(path)!r}: {why}"


def _readable(
    root: Path,
    index: ContentIndex,
    found: Sequence[Found],
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress | None,
) -> tuple[list[Photo], tuple[str, ...]]:
    """The photos that can be read, in an order that does not depend on file names, and the paths of the others."""
    contents = index.examine([photo.path for photo in found], workers=workers, progress=progress)
    photos: list[Photo] = []
    problems: dict[str, str] = {}
    for photo, content in zip(found, contents, strict=True):
        if content.problem is None:
            photos.append(Photo(photo.path, photo.label, photo.split, photo.group, content.digest))
        else:
            problems[photo.path] = content.problem
    if problems and not skip_unreadable:
        some = ", ".join(f"{path!r} ({why})" for path, why in list(problems.items())[:3])
        more = ", ..." if len(problems) > 3 else ""
        raise InputError(
            f"{len(problems)} of {len(found)} files in {str(root)!r} can't be read as photos: {some}{more}",
            "repair or remove them",
            "leave them out with --skip-unreadable",
        )
    return sorted(photos, key=lambda p: (p.split, p.label, p.digest, p.path)), tuple(problems)


def _divided(photos: list[Photo], seed: int) -> list[Photo]:
    rest = [photo for photo in photos if photo.split == "test"]
    whole = [photo for photo in photos if photo.split != "test"]
    groups = united_groups([photo.group for photo in whole], [photo.digest for photo in whole])
    valid = divide([photo.label for photo in whole], groups, seed)
    split = [replace(p, split="valid" if v else "train") for p, v in zip(whole, valid, strict=True)]
    return [*split, *rest]


def _check(photos: Sequence[Found] | Sequence[Photo]) -> None:
    """Raises InputError unless there are classes to tell apart, each in every split, and no group in two splits."""
    classes = sorted({photo.label for photo in photos})
    if len(classes) < 2:
        raise InputError(f"the photos have {len(classes)} class ({', '.join(classes)}): at least 2 are needed")
    splits = sorted({photo.split for photo in photos}, key=("", *SPLITS).index)
    if splits[0] not in ("", "train"):
        raise InputError(f"the photos are in {' and '.join(splits)}, and none is in train: put some there")
    seen = {(photo.split, photo.label) for photo in photos}
    for label in classes:
        having = [split for split in splits if (split, label) in seen]
        for split in splits:
            if split not in having:
                alike = next((c for c in classes if (split, c) in seen and c != label and _alike(c, label)), None)
                hint = f", which has {alike!r}: name them alike" if alike else ": add some, or remove it"
                raise InputError(f"class {label!r} has photos in {having[0]} but none in {split}{hint}")
    split_of: dict[str, str] = {}
    for photo in photos:
        if photo.group and split_of.setdefault(photo.group, photo.split) != photo.split:
            both = f"{split_of[photo.group]} and {photo.split}"
            raise InputError(f"group {photo.group!r} is in {both}: photos of one group must be in one split")


def _alike(name: str, other: str) -> bool:
    """Whether two names read the same but for case, spaces, and how accents are encoded."""

    def plain(text: str) -> str:
        return "".join(unicodedata.normalize("NFKC", text.casefold()).replace("_", " ").split())

    return plain(name) == plain(other)


def _decoded(
    root: Path, photos: Sequence[Photo], resolution: int, workers: int | None, progress: Progress | None
) -> tuple[Tensor, dict[str, int]]:
    """The pixels of the photos, and the row of each digest."""
    files = {photo.digest: root / photo.path for photo in photos}
    pool = decoded(files, resolution, workers=workers, progress=progress)
    return pool, {digest: row for row, digest in enumerate(sorted(files))}


def _key(photo: Photo) -> str:
    return f"{photo.digest}.{decoder()}"


def _split(photos: Sequence[Photo], classes: Sequence[str], pool: Tensor, rows: dict[str, int]) -> Split:
    label = {name: position for position, name in enumerate(classes)}
    return Split(
        inputs=pool,
        rows=torch.from_numpy(np.array([rows[photo.digest] for photo in photos], dtype=np.int64)),
        labels=torch.from_numpy(np.array([label[photo.label] for photo in photos], dtype=np.int64)),
        # Equal files are no independent samples, whatever their groups are called.
        groups=tuple(united_groups([photo.group for photo in photos], [photo.digest for photo in photos]))
        if any(photo.group for photo in photos)
        else (),
        names=tuple(display_name(photo.path) for photo in photos),
        keys=tuple(map(_key, photos)),
        identities=identities_of(photo.digest for photo in photos),
    )
