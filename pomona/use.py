"""Using a checkpoint or an exported model: what `pomona evaluate`, `predict` and `export` do.

`training` loads its names when they are used: an ONNX file is used without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import training
from search_spaces import InputError
from training.display import display_name

from . import onnx_predict

if TYPE_CHECKING:
    from training.export import Export
    from training.export_int8 import Quantised

_SPLITS = ("train", "valid", "test")
_ONNX = ".onnx"


def evaluate_checkpoint(
    path: Path,
    data: str | None = None,
    split: str | None = None,
    device: str = "auto",
    skip_unreadable: bool = False,
    progress: Callable[[int, int], None] | None = None,
    figures: Path | None = None,
    *,
    trust_split: bool = False,
    notify: Callable[[str], None] | None = None,
) -> training.Evaluation:
    """Scores a checkpoint on a split of `data`; other tables and texts, and bare folders of class folders, as a whole.

    Args:
        figures: a folder that gets the `evaluation_files`; None draws nothing.
        trust_split: keep a folder's split though copies of one photo are on both sides.
        notify: told what has to be known of the folder's split.

    Raises:
        InputError: there is no checkpoint, no such split, a class that the checkpoint does not know, or the figures
            can't be written.
    """
    from .evaluation_figures import check_folder, write_evaluation

    if figures is not None:
        check_folder(figures)
    if split is not None and split not in _SPLITS:
        raise InputError(f"unknown split {split!r}: {', '.join(_SPLITS)}")
    checkpoint = training.load_checkpoint(path)
    chosen = _labelled(checkpoint, data, split, skip_unreadable, progress, trust_split=trust_split, notify=notify)
    result = training.evaluate(checkpoint, chosen, training.resolve_device(device))
    if figures is not None:
        scored = checkpoint.record.source if data is None else display_name(data)
        write_evaluation(figures, result, chosen, checkpoint.record, f"{scored} ({split})" if split else scored)
    return result


def _labelled(
    checkpoint: training.Checkpoint,
    data: str | None,
    split: str | None,
    skip_unreadable: bool,
    progress: Callable[[int, int], None] | None,
    *,
    trust_split: bool = False,
    notify: Callable[[str], None] | None = None,
) -> training.Split:
    from training.data import is_folder_of_photos, open_again, split_note

    record = checkpoint.record
    if data is not None and record.modality == "image" and is_folder_of_photos(data):
        if notify is not None and (note := split_note(Path(data), trust_split=trust_split)):
            notify(note)
        return training.labelled_photos(
            Path(data),
            record.classes,
            split,
            record.resolution,
            skip_unreadable=skip_unreadable,
            trust_split=trust_split,
            progress=progress,
        )
    # As trained, so that a folder without splits is divided the same way again.
    photos = open_again(
        data or record.data, record.classes, record.kind, skip_unreadable=skip_unreadable, progress=progress
    )
    splits = photos.at(record.resolution)
    if split is None and record.modality != "image" and splits.fingerprint != record.fingerprint:
        # None of it was trained on, so nothing is held back.
        return splits.whole()
    chosen = {"train": splits.train, "valid": splits.valid, "test": splits.test}[split or "valid"]
    if chosen is None:
        raise InputError(f"{photos.source} has no split {split!r}")
    return chosen


def export_checkpoint(
    path: Path,
    file: Path,
    data: str | None = None,
    int8: bool = False,
    skip_unreadable: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Export, Quantised | None]:
    """Writes a checkpoint to an ONNX file, compared with torch on the valid split of `data` or on a bare folder.

    With `int8` a second file in 8 bits, calibrated on the train split of `data`; that is for images alone.

    Raises:
        InputError: there is no checkpoint, the data do not fit it, or the export fails; then `file` is as it was.
    """
    from training.export import export_onnx
    from training.export_int8 import check_images, quantise

    checkpoint = training.load_checkpoint(path)
    if int8:
        check_images(checkpoint.record.modality)
    # Both before anything is written.
    split = _labelled(checkpoint, data, None, skip_unreadable, progress)
    calibration = _labelled(checkpoint, data, "train", skip_unreadable, progress) if int8 else None
    exported = export_onnx(checkpoint, file, split)
    if calibration is None:
        return exported, None
    return exported, quantise(exported, calibration)


def answers_for(path: Path, files: Sequence[Path], device: str = "auto") -> list[dict[str, Any]]:
    """The answers of a checkpoint or an ONNX file for image files, the rows of CSV files or the lines of text files.

    With the fields of `training.Prediction`: `path`, and either those of a class or `value`.

    Raises:
        InputError: there is no checkpoint or model, or a file is not what it was trained on.
    """
    if path.suffix != _ONNX:
        checkpoint = training.load_checkpoint(path)
        return [_fields_of(answer) for answer in training.predict(checkpoint, files, training.resolve_device(device))]
    if device == "cuda":
        raise InputError("an ONNX file is used on the CPU: leave --device out")
    try:
        answers = onnx_predict.predict(path, files)
    except onnx_predict.PredictionError as problem:
        raise InputError(str(problem)) from None
    return [answer | {"path": display_name(answer["path"])} for answer in answers]


def _fields_of(answer: training.Prediction) -> dict[str, Any]:
    if answer.value is not None:
        return {"path": answer.path, "value": answer.value}
    fields = asdict(answer)
    del fields["value"]
    return fields


def predictions_for(path: Path, files: Sequence[Path], device: str = "auto") -> list[training.Prediction]:
    """`answers_for` as objects."""
    return [training.Prediction(**answer) for answer in answers_for(path, files, device)]
