"""Using a checkpoint: what `pomona evaluate`, `pomona predict` and the functions of those names do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from search_spaces import InputError, task_named
from training import (
    RENDERED,
    Checkpoint,
    Evaluation,
    Prediction,
    Split,
    evaluate,
    labelled_photos,
    load_checkpoint,
    open_data,
    predict,
    resolve_device,
)

_SPLITS = ("train", "valid", "test")


def evaluate_checkpoint(
    path: Path,
    data: str | None = None,
    split: str | None = None,
    device: str = "auto",
    skip_unreadable: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores a checkpoint on a split of `data`, or on a bare folder of class folders as a whole.

    Raises:
        InputError: there is no checkpoint, no such split, or a class that the checkpoint does not know.
    """
    if split is not None and split not in _SPLITS:
        raise InputError(f"unknown split {split!r}: {', '.join(_SPLITS)}")
    checkpoint = load_checkpoint(path)
    chosen = _labelled(checkpoint, data, split, skip_unreadable, progress)
    return evaluate(checkpoint, chosen, resolve_device(device))


def _labelled(
    checkpoint: Checkpoint,
    data: str | None,
    split: str | None,
    skip_unreadable: bool,
    progress: Callable[[int, int], None] | None,
) -> Split:
    record = checkpoint.record
    if data is not None and not data.startswith(RENDERED):
        return labelled_photos(
            Path(data), record.classes, split, record.resolution, skip_unreadable=skip_unreadable, progress=progress
        )
    # As trained, so that a folder without splits is divided the same way again.
    photos = open_data(data or record.data, task_named(record.task), skip_unreadable=skip_unreadable, progress=progress)
    splits = photos.at(record.resolution)
    chosen = {"train": splits.train, "valid": splits.valid, "test": splits.test}[split or "valid"]
    if chosen is None:
        raise InputError(f"{photos.source} has no split {split!r}")
    return chosen


def predict_images(path: Path, images: Sequence[Path], device: str = "auto") -> list[Prediction]:
    """The answers of a checkpoint for image files.

    Raises:
        InputError: there is no checkpoint, or a file is not an image.
    """
    return predict(load_checkpoint(path), images, resolve_device(device))
