"""A task's photos with a fifth of `train` held back, so that what a search chose can be scored on unseen photos."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search_spaces import InputError
from training import atomic_write_bytes
from training.data.copies import united_groups
from training.data.dividing import divide
from training.data.manifest import MANIFEST
from training.data.photos import Photo, scan

_MADE = "made.json"
SEED = 0
"""Of the division: one for all runs, so that systems and seeds are scored on the same photos."""


@dataclass(frozen=True)
class HeldBack:
    """Folders of links to a task's photos: `searched` has train and valid, `whole` has test too.

    Systems are given `searched`, so that nobody reads or decodes the photos that were held back.
    """

    folder: Path
    fingerprint: str

    @property
    def searched(self) -> Path:
        return self.folder / "searched"

    @property
    def whole(self) -> Path:
        return self.folder / "whole"


def hold_back(data: Path, folder: Path) -> HeldBack:
    """Makes the folders of links below `folder`, or finds them there.

    `test` is a seeded fifth of `data`'s train, stratified by class; photos of one group, and equal files, stay on one
    side. `valid` is as it is.

    Raises:
        InputError: `data` can't be read, or `folder` holds links to other photos.
    """
    made = folder / _MADE
    if made.is_file():
        known = json.loads(made.read_bytes())
        if known["data"] != str(data.resolve()):
            raise InputError(f"{folder} holds links to other photos than those of {data}: choose another --out")
        return HeldBack(folder, known["fingerprint"])
    photos = scan(data)
    parts = _parts(photos.photos)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, splits in (("searched", ("train", "valid")), ("whole", ("train", "valid", "test"))):
            _link(photos.root.resolve(), temporary / name, {split: parts[split] for split in splits})
        fingerprint = scan(temporary / "searched", trust_split=True).fingerprint
        text = json.dumps({"data": str(data.resolve()), "fingerprint": fingerprint, "seed": SEED})
        atomic_write_bytes(temporary / _MADE, text.encode())
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return HeldBack(folder, fingerprint)


def _parts(photos: Sequence[Photo]) -> dict[str, list[Photo]]:
    """The photos of train, valid and test, the last out of the first. None of its groups is in valid: what searches
    choose by is not what they are scored on."""
    both = [photo for photo in photos if photo.split in ("train", "valid")]
    united = united_groups([photo.group for photo in both], [photo.digest for photo in both])
    of_valid = {group for photo, group in zip(both, united, strict=True) if photo.split == "valid"}
    train = [photo for photo in both if photo.split == "train"]
    groups = [group for photo, group in zip(both, united, strict=True) if photo.split == "train"]
    divided = divide([photo.label for photo in train], groups, SEED)
    chosen = [held and group not in of_valid for held, group in zip(divided, groups, strict=True)]
    return {
        "train": [photo for photo, held in zip(train, chosen, strict=True) if not held],
        "valid": [photo for photo in photos if photo.split == "valid"],
        "test": [photo for photo, held in zip(train, chosen, strict=True) if held],
    }


def _link(root: Path, folder: Path, parts: dict[str, list[Photo]]) -> None:
    """Links in `DIR/<split>/<class>/`, and a manifest where groups are known."""
    rows = []
    for split, photos in parts.items():
        for photo in photos:
            target = folder / split / photo.label / Path(photo.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while os.path.lexists(target):
                # Another folder has a photo of that name.
                number += 1
                target = target.with_name(f"{number}-{Path(photo.path).name}")
            os.symlink(root / photo.path, target)
            rows.append([target.relative_to(folder).as_posix(), photo.label, split, photo.group])
    if any(row[-1] for row in rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["path", "label", "split", "group"], *rows])
        atomic_write_bytes(folder / MANIFEST, text.getvalue().encode())
