"""Removing what runs of a study left in its folder: files of our own names, and nothing else."""

from __future__ import annotations

from pathlib import Path

from training.machine.leftovers import remove_files

# Saved lanes and outputs, the ensemble that was chosen, tracebacks and the locks of a run.
_OURS = r"\d{5,}\.safetensors|lane\.safetensors|ensemble\.json|\d{5,}\.txt|(run|ask)\.lock"


def remove_ours(folder: Path) -> None:
    """Removes our files below `folder`, and the folders that are empty then, itself included; see `remove_files`."""
    remove_files(folder, _OURS)
