"""Finding what the folder of a group holds of one lane, to be read by others than the group. Needs no torch."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SAVE = re.compile(r"(\d+)-(\d+)")


def saved_lanes(folder: Path, key: int) -> list[tuple[int, Path]]:
    """(epoch, file) of each save of the lane `key` in a `GroupFolder`'s folder or its parts', the latest first.

    Empty where there is no such folder. Nothing is opened, and links are not followed.
    """
    found = []
    for place, _, files in os.walk(folder):
        save = _SAVE.fullmatch(Path(place).name)
        if save is not None and (name := lane_file(key)) in files:
            found.append((int(save[1]), int(save[2]), Path(place) / name))
    return [(epoch, path) for epoch, _, path in sorted(found, reverse=True)]


def lane_file(key: int) -> str:
    """The name of a lane's file."""
    return f"{key:05d}.safetensors"
