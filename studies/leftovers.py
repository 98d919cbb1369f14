"""Removing what runs of a study left in its folder: files of our own names, and nothing else."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from training.machine.leftovers import remove_files

# Saved lanes and outputs, the ensemble that was chosen, tracebacks and the locks of a run.
_OURS = r"\d{5,}\.safetensors|lane\.safetensors|ensemble\.json|\d{5,}\.txt|(run|ask)\.lock"


def remove_ours(folder: Path) -> None:
    """Removes our files below `folder`, and the folders that are empty then, itself included; see `remove_files`."""
    remove_files(folder, _OURS)


def remove_ended(folder: Path, under_way: Container[int]) -> None:
    """Removes what was saved of trials that ended, in folders that bear the numbers of their groups: a process died of
    them, or between their end and the removal."""
    for saved in folder.glob("*"):
        if saved.name.isdecimal() and int(saved.name) not in under_way:
            remove_ours(saved)
