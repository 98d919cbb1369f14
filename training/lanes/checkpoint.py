"""Checkpoints: a folder with tensors (safetensors) and a JSON file that names them and is written last.

The JSON is renamed into place only when its tensors are on the disk, so that a checkpoint is always whole: the new
one, or the one before. It holds the digest of the tensors' file and its own.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from search_spaces import Config, InputError

from ..data import Kind
from ..machine.digest import DIGEST, bytes_digest, file_digest, is_whole, sealed
from ..machine.files import atomic_write_bytes, atomic_write_json
from ..models.backbones import build
from ..models.backbones.chains import chains_of
from ..models.backbones.folding import folded_stages
from ..models.backbones.quick import quickened
from ..models.classifier import Classifier, Head
from ..models.numerics import Numerics
from ..models.spec import Spec, spec_of
from ..scoring.objectives import Objective, objective_of

FORMAT = 2
RECORD = "checkpoint.json"
TRAINED_ON = "data.trained_on"
"""The name of a tensor: the identities of the examples that the model was trained on, int64 (n,), ascending."""

# Had no digests, and is still read.
_BEFORE_DIGESTS = 1

_WAYS_OUT = "train again with another --out, or restore a copy of the folder"
_TENSORS = re.compile(r"epoch-(\d{4,})\.safetensors")
# What marks a file of tensors as ours.
_MARK = {"made_by": "pomona", "holds": "checkpoint"}


@dataclass(frozen=True)
class CheckpointRecord:
    """Everything about a checkpoint but its tensors. `epoch` of `epochs` are done; `data` opens its data again.

    `start` is the tick of the first epoch, as in `fit`; `modality`, `columns` and `metric` are the task's, and `offset`
    is as in `Splits`.
    """

    task: str
    config: Config
    classes: tuple[str, ...]
    resolution: int
    seed: int
    epoch: int
    epochs: int
    curve: list[dict[str, Any]]
    numerics: Numerics
    weights: str
    fingerprint: str
    source: str
    data: str
    environment: dict[str, Any]
    value: float | None = None
    ci95: tuple[float, float] | None = None
    n: int = 0
    groups_ci95: tuple[float, float] | None = None
    n_groups: int = 0
    start: int = 1
    modality: str = "image"
    columns: tuple[str, ...] = ()
    metric: str = "accuracy"
    offset: float = 0.0

    @property
    def spec(self) -> Spec:
        return spec_of(self.config)

    @property
    def kind(self) -> Kind:
        return Kind(self.modality, self.columns, self.metric)


@dataclass(frozen=True)
class Checkpoint:
    """A record with its tensors, on the CPU; names begin with `model.` or `optimizer.`, but for `TRAINED_ON`."""

    folder: Path
    record: CheckpointRecord
    tensors: dict[str, torch.Tensor]

    @property
    def objective(self) -> Objective:
        return objective_of(self.record.metric, self.record.classes)

    @property
    def trained_on(self) -> torch.Tensor | None:
        """As `Split.identities`, of all that the model has learnt from; None in checkpoints of earlier versions."""
        return self.tensors.get(TRAINED_ON)

    def classifier(self, *, as_trained: bool = False) -> Classifier:
        """The model with its weights, in evaluation mode on the CPU.

        With `as_trained` its stages are folded and quickened as they are in training on a CPU: in bf16 they round in
        other places than the plain ones, and photos on the edge fall to the other side.
        """
        record, spec = self.record, self.record.spec
        backbone = build(spec.backbone.name)
        head = Head(backbone.widths[-1], self.objective.outputs, spec.head)
        model = Classifier(backbone, spec, head)
        model.offset = record.offset
        restore_model(model, self.tensors, self.folder)
        if as_trained:
            cut = spec.backbone.cut(len(backbone.stages))
            stages = list(folded_stages(backbone)[:cut])
            for stage, chains in zip(backbone.stages[cut:], chains_of(backbone)[cut:], strict=True):
                stages.append(quickened(stage, chains) if record.numerics.channels_last else stage)
            model.stages = nn.ModuleList(stages)
        return model.eval()


def save_checkpoint(folder: Path, record: CheckpointRecord, tensors: dict[str, torch.Tensor]) -> None:
    """Writes tensors, then the record that names them, then removes the tensors of the record before.

    Args:
        tensors: on the CPU, named as `Checkpoint` has them.

    Raises:
        InputError: no room, no permission, or a file of somebody else's has the name of one to be written; the
            previous checkpoint is whole.
    """
    name = f"epoch-{record.epoch:04d}.safetensors"
    previous = _named_tensors(folder)
    _check_ours(folder, name, previous)
    data = safetensors.torch.save(tensors, _MARK)
    atomic_write_bytes(folder / name, data)
    told = {"format": FORMAT, "tensors": name, "tensors_digest": bytes_digest(data), **asdict(record)}
    atomic_write_json(folder / RECORD, sealed(told))
    if previous is not None and previous != name:
        (folder / previous).unlink(missing_ok=True)


def check_checkpoint_folder(folder: Path, epochs: int) -> None:
    """Makes sure that the checkpoints of `epochs` epochs can be written to `folder` and overwrite only our own files.

    Raises:
        InputError: it is no folder, or somebody else's file has a name that a checkpoint would take.
    """
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name another one for the checkpoint")
    previous = _named_tensors(folder)
    # What is there is looked at, not what will be written: that may be a million epochs.
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (match := _TENSORS.fullmatch(path.name)) and 1 <= int(match[1]) <= epochs:
            _check_ours(folder, path.name, previous)
    record = folder / RECORD
    if previous is None and (record.exists() or record.is_symlink()):
        raise InputError(f"{record} is there and no checkpoint that can be read: move it away, or name another folder")


def _check_ours(folder: Path, name: str, previous: str | None) -> None:
    """Raises InputError where `name` is taken by a file that we did not write."""
    path = folder / name
    if name == previous or not (path.exists() or path.is_symlink()):
        return
    try:
        with safetensors.safe_open(path, "pt") as file:
            ours = not path.is_symlink() and (file.metadata() or {}).items() >= _MARK.items()
    except (OSError, safetensors.SafetensorError):
        ours = False
    if not ours:
        raise InputError(
            f"{path} was not written by pomona and is in the way of a checkpoint: move it away, or name another folder"
        )


def _named_tensors(folder: Path) -> str | None:
    """The file that the record in `folder` names, ours beyond doubt; None where there is no whole record."""
    try:
        raw = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict) or raw.get("format") not in (_BEFORE_DIGESTS, FORMAT) or not _is_whole_record(raw):
        return None
    name = raw.get("tensors")
    return name if isinstance(name, str) and _TENSORS.fullmatch(name) else None


def has_checkpoint(folder: Path) -> bool:
    return (folder / RECORD).is_file()


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint from its folder or from the JSON file in it.

    Raises:
        InputError: there is none, it is of a later format, or it is damaged.
    """
    folder = path.parent if path.name == RECORD else path
    raw = _read_record(folder)
    tensors_path, tensors_digest = folder / str(raw.pop("tensors", "")), raw.pop("tensors_digest", None)
    try:
        numerics = Numerics(**raw.pop("numerics"))
        classes, interval, groups = tuple(raw.pop("classes")), raw.pop("ci95"), raw.pop("groups_ci95")
        columns = raw.pop("columns", ())
        record = CheckpointRecord(
            **raw,
            numerics=numerics,
            classes=classes,
            columns=tuple(columns),
            ci95=_interval(interval),
            groups_ci95=_interval(groups),
        )
    except (TypeError, KeyError) as problem:
        raise InputError(f"{folder / RECORD} lacks a field or has one too many ({problem}): train again") from None
    return Checkpoint(folder, record, _read_tensors(tensors_path, tensors_digest))


def _read_record(folder: Path) -> dict[str, Any]:
    """The record as it was written, without its format and digest."""
    path = folder / RECORD
    try:
        raw = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no checkpoint in {folder}: expected a folder that `pomona train` wrote") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} can't be read ({problem}): {_WAYS_OUT}") from None
    if not isinstance(raw, dict) or raw.get("format") not in (_BEFORE_DIGESTS, FORMAT):
        raise InputError(f"{path} is not a checkpoint of this version of pomona (format {FORMAT})")
    if not _is_whole_record(raw):
        raise InputError(f"{path} is damaged, its digest is not that of its contents: {_WAYS_OUT}")
    return {name: value for name, value in raw.items() if name not in ("format", DIGEST)}


def _is_whole_record(raw: dict[str, Any]) -> bool:
    # A damaged name of the digest must not make a record look like one that is older than digests.
    return raw["format"] == _BEFORE_DIGESTS if DIGEST not in raw else raw["format"] == FORMAT and is_whole(raw)


def _read_tensors(path: Path, digest: str | None) -> dict[str, torch.Tensor]:
    try:
        if digest is not None and file_digest(path) != digest:
            raise InputError(f"{path} is damaged, its digest is not that in {RECORD}: {_WAYS_OUT}")
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as problem:
        raise InputError(f"{path} can't be read ({problem}): {_WAYS_OUT}") from None


def _interval(bounds: list[float | None] | None) -> tuple[float, float] | None:
    if not bounds:
        return None
    low, high = (math.nan if bound is None else bound for bound in bounds)
    return low, high


def restore_model(model: Classifier, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Loads the `model.` tensors, every one of them."""
    state = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        first = str(problem).strip().splitlines()[-1].strip()
        raise InputError(f"the checkpoint in {folder} does not fit its own backbone: {first}") from None
