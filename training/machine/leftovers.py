"""Removing files of our own names from a folder, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


def remove_files(folder: Path, ours: str) -> None:
    """Removes the files below `folder` whose whole name matches `ours`, and the folders that are empty then.

    What a killed writer left of such a file goes too. Others' files stay. Links are not followed, neither below
    `folder` nor where `folder` or the one above it is one.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        return
    names = re.compile(rf"(?:{ours})|\.(?:{ours})\.\w+")
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            if names.fullmatch(name):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(place, name))
        with contextlib.suppress(OSError):
            os.rmdir(place)
