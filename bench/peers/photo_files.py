"""Decoded photos as files, one set a resolution, that the processes of a search's trials share."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
from filelock import FileLock

from .expert import Photos, load_photos

_ARRAYS = tuple(field.name for field in fields(Photos))


def photos_at(folder: Path, data: Path, resolution: int) -> Photos:
    """The photos of `data` mapped from files below `folder`, which the first process that asks for them makes."""
    place = folder / f"photos-{resolution}"
    with FileLock(f"{place}.lock"):
        if not place.is_dir():
            photos = load_photos(data, resolution)
            temporary = Path(tempfile.mkdtemp(dir=folder))
            for name in _ARRAYS:
                np.save(temporary / f"{name}.npy", getattr(photos, name))
            temporary.rename(place)
    return Photos(**{name: np.load(place / f"{name}.npy", mmap_mode="r") for name in _ARRAYS})
