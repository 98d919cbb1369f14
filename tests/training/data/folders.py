"""Small folders of photos for tests."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Layout = Mapping[str, int]
"""From a class folder, such as `train/apple`, to its number of photos."""

TWO_SPLITS: Layout = {"train/apple": 4, "train/pear": 3, "valid/apple": 2, "valid/pear": 2}
BARE: Layout = {"apple": 10, "pear": 10}


def write_photo(path: Path, name: str | None = None) -> Path:
    """A PNG of 12 x 10 pixels that differs for every `name` (its file's by default)."""
    rng = np.random.default_rng(zlib.crc32((name or str(path)).encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (10, 12, 3), np.uint8)).save(path)
    return path


def write_folder(root: Path, layout: Layout, manifest: str | None = None) -> Path:
    for folder, count in layout.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write_photo(root / folder / f"{number}.png", f"{folder}/{number}")
    if manifest is not None:
        (root / "manifest.csv").write_text(manifest)
    return root


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
