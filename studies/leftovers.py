"""Removing what runs of a study left in its folder: files of our own names, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

# Saved lanes, tracebacks and the lock of a run; and what a killed writer leaves of one.
_OURS = re.compile(r"\d{5,}\.safetensors|lane\.safetensors|\d{5,}\.txt|run\.lock")
_UNFINISHED = re.compile(rf"\.({_OURS.pattern})\.\w+")


def remove_ours(folder: Path) -> None:
    """Removes our files below `folder`, and the folders that are empty then, itself included.

    Others' files stay. Links are not followed, neither below `folder` nor where `folder` or the one above it is one.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        return
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            if _OURS.fullmatch(name) or _UNFINISHED.fullmatch(name):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(place, name))
        with contextlib.suppress(OSError):
            os.rmdir(place)
