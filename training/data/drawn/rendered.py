"""The drawn stand-in for photos of fruit: written once into the cache, as a folder like any other.

rendered/<name>/         pictures and a manifest
rendered/<name>.json     the digest of each of these files
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search_spaces import InputError

from ...machine.cache import another_folder, cache_folder, make_cache_folder
from ...machine.digest import file_digest, is_whole, note, sealed
from ...machine.files import WriteError, atomic_write_json, write_error
from ...machine.threads import Progress, in_threads, only_one_process
from ..layout import MANIFEST
from . import drawing, scenery, skins, solids

SIZE = 160
"""Pixels a side."""

_SERIES = 2
"""Views of each piece of fruit: photos come in series, and what is scored by photo looks surer than it is."""


@dataclass(frozen=True)
class _Picture:
    """A line of the manifest."""

    path: str
    label: str
    split: str
    group: str
    source: str


def rendered_folder(
    seed: int = 0,
    *,
    train_per_class: int = 60,
    valid_per_class: int = 40,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """A folder of drawn fruit, made now or found whole in the cache: `<split>/<class>/*.png`, a manifest with groups.

    A picture depends on the seed, its split, its class and its number, not on how many others there are.

    Raises:
        InputError: the seed is negative, or the cache can't be written.
    """
    if seed < 0:
        raise InputError(f"a seed of rendered data is 0 or more, not {seed}")
    # Whoever changes how things are drawn need not think of the cache.
    sources = "".join(inspect.getsource(module) for module in (drawing, scenery, skins, solids))
    drawn_by = hashlib.sha256(f"{SIZE} {_SERIES} {sources}".encode()).hexdigest()[:8]
    folder = cache_folder("rendered") / f"{drawn_by}-seed{seed}-{train_per_class}+{valid_per_class}"
    counts = {"train": train_per_class, "valid": valid_per_class}
    pictures = [
        _Picture(
            f"{split}/{label}/{number:03d}.png", label, split, f"{split}-{label}-{number // _SERIES:03d}", "rendered"
        )
        for split, count in counts.items()
        for label in drawing.LABELS
        for number in range(count)
    ]
    if not _whole(folder, pictures):
        make_cache_folder(folder.parent)
        with only_one_process(folder):
            # Another process may have made it in the meantime.
            if not _whole(folder, pictures):
                if folder.exists():
                    note(f"{folder} is damaged or of an earlier version: its pictures are drawn again")
                _draw(folder, pictures, seed, workers, progress)
    return folder


def _whole(folder: Path, pictures: Sequence[_Picture]) -> bool:
    """Whether every file is there and holds what was written to it."""
    names = [MANIFEST, *(picture.path for picture in pictures)]
    try:
        payload = json.loads(_digests_file(folder).read_bytes())
        return (
            is_whole(payload)
            and payload["files"].keys() == set(names)
            and all(file_digest(folder / name) == payload["files"][name] for name in names)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _digests_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _draw(
    folder: Path, pictures: Sequence[_Picture], seed: int, workers: int | None, progress: Progress | None
) -> None:
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for parent in {temporary / Path(picture.path).parent for picture in pictures}:
                parent.mkdir(parents=True)

            def draw(picture: _Picture) -> None:
                pixels = picture_of(seed, picture.split, picture.label, int(Path(picture.path).stem))
                # Grain hardly compresses, and stored pixels are the same bytes whatever zlib is at work.
                Image.fromarray(pixels).save(temporary / picture.path, compress_level=0)

            in_threads(draw, pictures, workers=workers, progress=progress)
            with (temporary / MANIFEST).open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(_Picture.__dataclass_fields__)
                writer.writerows(astuple(picture) for picture in pictures)
            names = [MANIFEST, *(picture.path for picture in pictures)]
            digests = sealed({"files": {name: file_digest(temporary / name) for name in names}})
            if folder.exists():
                # File by file: what somebody has put beside them is not ours to remove.
                for name in names:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(temporary / name, folder / name)
            else:
                temporary.chmod(0o755)
                os.replace(temporary, folder)
            atomic_write_json(_digests_file(folder), digests)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except WriteError as problem:
        raise WriteError(another_folder(problem)) from None
    except OSError as problem:
        raise WriteError(another_folder(write_error(folder, problem))) from None


def picture_of(seed: int, split: str, label: str, number: int) -> NDArray[np.uint8]:
    """The picture (SIZE, SIZE, 3) of that number; the pictures of one series show one piece of fruit."""
    place = (seed, ("train", "valid").index(split), drawing.LABELS.index(label))
    fruit = drawing.grow(label, np.random.default_rng((*place, number // _SERIES)))
    return drawing.photograph(fruit, np.random.default_rng((*place, number // _SERIES, 1 + number % _SERIES)), SIZE)
