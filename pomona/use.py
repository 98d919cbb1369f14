"""Using a checkpoint or an exported model: what `pomona evaluate`, `predict` and `export` do.

`training` loads its names when they are used: an ONNX file is used without torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import training
from search_spaces import InputError
from training.machine.display import display_name

from . import onnx_predict

if TYPE_CHECKING:
    from training.export.export_int8 import Quantised
    from training.export.onnx import Export

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
    """Scores a checkpoint on a split of `data`, or, where it has none, on what was not trained on of it.

    Args:
        figures: a folder that gets the `evaluation_files`; None draws nothing.
        trust_split: keep a folder's split though copies of one photo are on both sides.
        notify: told in lines for people what of the data was trained on, and what has to be known of its split.

    Raises:
        InputError: there is no checkpoint, no such split, a class that the checkpoint does not know, or nothing in the
            data that was not trained on, or the figures can't be written.
    """
    from training.data.packed import shown
    from training.export.held_out import LabelledSource, examples_to_score

    from .evaluation_figures import check_folder, write_evaluation

    if figures is not None:
        check_folder(figures)
    if split is not None and split not in _SPLITS:
        raise InputError(f"unknown split {split!r}: {', '.join(_SPLITS)}")
    checkpoint = training.load_model(path)
    scored = examples_to_score(checkpoint, LabelledSource(data, skip_unreadable, trust_split, progress), split)
    if notify is not None:
        for note in (*scored.notes, *_how_far(checkpoint)):
            notify(note)
    result = replace(
        training.evaluate(checkpoint, scored.examples, training.resolve_device(device)),
        n_trained_on=scored.n_trained_on,
        n_trained_on_left_out=scored.n_left_out,
    )
    if notify is not None and result.note:
        notify(result.note)
    if figures is not None:
        source = checkpoint.record.source if data is None else display_name(data)
        title = f"{source} ({scored.title})" if scored.title else source
        write_evaluation(figures, result, shown(scored.examples), checkpoint.record, title, checkpoint.curve_of)
    return result


def export_checkpoint(
    path: Path,
    file: Path,
    data: str | None = None,
    int8: bool = False,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    progress: Callable[[int, int], None] | None = None,
    notify: Callable[[str], None] | None = None,
) -> tuple[Export, Quantised | None]:
    """Writes a checkpoint to an ONNX file, compared with torch on the valid split of `data`, or on what has no splits.

    With `int8` a second file in 8 bits, calibrated on the train split of `data`; that is for images alone. Of data
    without splits `valid` is what was not trained on. `trust_split` is as in `evaluate_checkpoint`. `notify` is told
    what has to be known of the data.

    Raises:
        InputError: there is no checkpoint, the data do not fit it, or the export fails; then `file` is as it was.
    """
    from training.export.export_int8 import check_quantisable, quantise
    from training.export.held_out import LabelledSource, examples_to_compare
    from training.export.onnx import check_file, export_onnx

    checkpoint = training.load_model(path)
    check_file(file)
    if int8:
        check_quantisable(checkpoint.record.modality, models=len(checkpoint.configs))
    source = LabelledSource(data, skip_unreadable, trust_split, progress)
    compared, calibration = examples_to_compare(checkpoint, source, calibrate=int8)
    if notify is not None:
        for note in (*compared.notes, *_how_far(checkpoint)):
            notify(note)
    exported = export_onnx(checkpoint, file, compared.examples)
    return exported, quantise(exported, calibration) if int8 else None


def _how_far(checkpoint: training.Checkpoint) -> list[str]:
    """A line on a checkpoint whose run did not get to its last epoch."""
    return [f"the model was {checkpoint.record.interrupted}"] if checkpoint.record.interrupted else []


def answers_for(
    path: Path,
    files: Sequence[Path],
    device: str = "auto",
    skip_unreadable: bool = False,
    notify: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """The answers of a checkpoint or an ONNX file for image files, the rows of CSV files or the lines of text files.

    With the fields of `training.Prediction`: `path`, and either those of a class or `value`. `skip_unreadable` leaves
    out files that can't be read, and `notify` is told in a line for people which.

    Raises:
        InputError: there is no checkpoint or model, or a file is not what it was trained on.
    """
    # A checkpoint's folder may have any name.
    if path.suffix != _ONNX or os.path.isdir(path):
        checkpoint = training.load_model(path)
        if skip_unreadable:
            from training.data import unreadable

            files = _readable(files, unreadable(checkpoint.record.kind, files), notify)
        return [_fields_of(answer) for answer in training.predict(checkpoint, files, training.resolve_device(device))]
    if device.startswith("cuda"):
        raise InputError("an ONNX file is used on the CPU: leave --device out")
    try:
        model = onnx_predict.load(path)
        known = model.modality in onnx_predict.READERS
        if skip_unreadable:
            files = _readable(
                files, model.unreadable(files) if known else _unreadable_by_modality(model, files), notify
            )
        predictions = model.predict(files) if known else _predicted_by_modality(model, files)
    except onnx_predict.PredictionError as problem:
        raise InputError(str(problem)) from None
    return [answer | {"path": display_name(answer["path"])} for answer in predictions]


def _predicted_by_modality(model: onnx_predict.Model, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Where only the modality's own module can read `files`, which takes torch."""
    from training.data import Kind, unlabelled

    inputs, names = unlabelled(Kind(model.modality, model.columns), files, model.resolution)
    return list(model.predictions(names, inputs.numpy()))


def _unreadable_by_modality(model: onnx_predict.Model, files: Sequence[Path]) -> dict[Path, str]:
    from training.data import Kind, unreadable

    return unreadable(Kind(model.modality, model.columns), files)


def _readable(
    files: Sequence[Path], problems: Mapping[Path, str], notify: Callable[[str], None] | None
) -> Sequence[Path]:
    """`files` without those that have problems; raises InputError where none is left."""
    found = [file for file in files if file not in problems]
    some = "; ".join([*problems.values()][:3]) + ("; ..." if len(problems) > 3 else "")
    if not found:
        raise InputError(f"none of the {len(files)} files can be read: {some}")
    if problems and notify is not None:
        notify(f"{len(files) - len(found)} of {len(files)} files left out: {some}")
    return found


def _fields_of(answer: training.Prediction) -> dict[str, Any]:
    if answer.value is not None:
        return {"path": answer.path, "value": answer.value}
    fields = asdict(answer)
    del fields["value"]
    return fields


def predictions_for(
    path: Path,
    files: Sequence[Path],
    device: str = "auto",
    skip_unreadable: bool = False,
    notify: Callable[[str], None] | None = None,
) -> list[training.Prediction]:
    """`answers_for` as objects."""
    return [training.Prediction(**answer) for answer in answers_for(path, files, device, skip_unreadable, notify)]
