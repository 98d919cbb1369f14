"""Checkpoints: a folder with all of it in `checkpoint.safetensors`, and the record for people in `checkpoint.json`.

The first is a state file (`state_file.py`) that takes the place of the one before in one step, so that a checkpoint is
always whole: the new one, or the one before. The second is written after it; no model is read from it.
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
from ..machine.decode import DecodeError, decoded
from ..machine.digest import DIGEST, file_digest, is_whole, sealed
from ..machine.files import atomic_write_json
from ..models.backbones import build
from ..models.classifier import Classifier, Head
from ..models.ensemble import Ensemble
from ..models.lowering import lower
from ..models.numerics import Numerics
from ..models.spec import Spec, spec_of
from ..scoring.objectives import Objective, objective_of
from .results import curve_from_json, interrupted_after
from .state_file import FORMAT, StateError, is_state, read_state, write_state

STATE = "checkpoint.safetensors"
RECORD = "checkpoint.json"
ENSEMBLE = "ensemble.json"
"""Of the folder of several checkpoints that answer as one: see `ensemble_checkpoint.py`."""
TRAINED_ON = "data.trained_on"
"""The name of a tensor: the identities of the examples that the model was trained on, int64 (n,), ascending."""

_HOLDS = "checkpoint"
_WAYS_OUT = "train again with another --out, or restore a copy of the folder"
# In earlier formats the record was read, and named the file of the tensors. The first had no digests.
_BEFORE_DIGESTS, _EARLIER = 1, 2
_EARLIER_TENSORS = re.compile(r"epoch-(\d{4,})\.safetensors")


@dataclass(frozen=True)
class CheckpointRecord:
    """Everything about a checkpoint but its tensors. `epoch` of `epochs` are done; `data` opens its data again.

    `modality`, `columns` and `metric` are the task's, and `offset` is as in `Splits`. `side` is that of the images that
    it was trained on where they were smaller than `resolution`, so that the model enlarged them; else 0.
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
    modality: str = "image"
    columns: tuple[str, ...] = ()
    metric: str = "accuracy"
    offset: float = 0.0
    side: int = 0

    @property
    def taken(self) -> int:
        """The side of the images that the model takes: others are brought to it as they are read."""
        return self.side or self.resolution

    @property
    def interrupted(self) -> str:
        """How far a run came that did not get to its last epoch; empty where it did."""
        return interrupted_after(self.epoch, self.epochs) if self.epoch < self.epochs else ""

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

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Those that the model takes an example in, ascending."""
        return (self.record.taken,)

    @property
    def configs(self) -> list[Config]:
        """Of each model that answers."""
        return [self.record.config]

    @property
    def curve_of(self) -> str:
        """Which of several models the record's curve is of, for people; empty for the only one."""
        return ""

    def classifier(
        self, lowered_for: torch.device | None = None, numerics: Numerics | None = None
    ) -> Classifier | Ensemble:
        """The model with its weights in evaluation mode, on the CPU in torch's own modules.

        With `lowered_for` it is on that device as it is in training there, in the record's numerics unless others are
        given: in bf16 that rounds in other places than the plain modules, and photos on the edge change sides.
        """
        return classifier_of(self, lowered_for, numerics)


def classifier_of(
    checkpoint: Checkpoint, lowered_for: torch.device | None = None, numerics: Numerics | None = None
) -> Classifier:
    """The only model of a checkpoint; see `Checkpoint.classifier`."""
    record, spec = checkpoint.record, checkpoint.record.spec
    backbone = build(spec.backbone.name)
    head = Head(backbone.widths[-1], checkpoint.objective.outputs, spec.head)
    model = Classifier(backbone, spec, head)
    model.offset, model.side = record.offset, record.taken
    restore_model(model, checkpoint.tensors, checkpoint.folder)
    if lowered_for is not None:
        cut = spec.backbone.cut(len(backbone.stages))
        lowered = lower(backbone, cut, numerics or record.numerics, lowered_for)
        model.stages = nn.ModuleList([*lowered.frozen, *lowered.trained])
        model.to(lowered_for)
    return model.eval()


def save_checkpoint(folder: Path, record: CheckpointRecord, tensors: dict[str, torch.Tensor]) -> None:
    """Writes a checkpoint in the place of the one before.

    Args:
        tensors: on the CPU, named as `Checkpoint` has them.

    Raises:
        InputError: no room, no permission, or a file of somebody else's has the name of one to be written; the
            previous checkpoint is whole.
    """
    earlier = _check_ours(folder)
    write_state(folder / STATE, _HOLDS, asdict(record), tensors)
    shown = asdict(record) | ({"interrupted": record.interrupted} if record.interrupted else {})
    atomic_write_json(folder / RECORD, sealed({"format": FORMAT, "tensors": STATE, **shown}))
    if earlier is not None:
        (folder / earlier).unlink(missing_ok=True)


def check_checkpoint_folder(folder: Path) -> None:
    """Makes sure that a checkpoint can be written to `folder` and overwrites only our own files.

    Raises:
        InputError: it is no folder, or somebody else's file has a name that a checkpoint would take.
    """
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name another one for the checkpoint")
    _check_ours(folder)


def _check_ours(folder: Path) -> str | None:
    """The file of the tensors, where the folder holds a checkpoint of an earlier format.

    Raises:
        InputError: a file that we did not write is in the way.
    """
    state, record = folder / STATE, folder / RECORD
    if (folder / ENSEMBLE).exists() or (folder / ENSEMBLE).is_symlink():
        raise InputError(f"{folder} holds an ensemble: name another folder for the checkpoint")
    if (state.exists() or state.is_symlink()) and not is_state(state, _HOLDS):
        raise InputError(
            f"{state} was not written by pomona and is in the way of a checkpoint: move it away, or name another folder"
        )
    if not (record.exists() or record.is_symlink()):
        return None
    try:
        tensors = _read_record(folder).get("tensors")
    except InputError:
        tensors = None
    if tensors != STATE and not (isinstance(tensors, str) and _EARLIER_TENSORS.fullmatch(tensors)):
        raise InputError(f"{record} is there and no checkpoint that can be read: move it away, or name another folder")
    return None if tensors == STATE else tensors


def has_checkpoint(folder: Path) -> bool:
    return (folder / STATE).is_file() or (folder / RECORD).is_file()


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint from its folder or from a file in it.

    Raises:
        InputError: there is none, it is of a later format, or it is damaged.
    """
    folder = path.parent if path.name in (STATE, RECORD) else path
    read = _read if (folder / STATE).is_file() else _read_earlier
    raw, tensors = read(folder)
    try:
        return Checkpoint(folder, _record_of(raw), tensors)
    except DecodeError as problem:
        raise InputError(
            f"the checkpoint in {folder} is of another version of pomona ({problem}): train again"
        ) from None


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    path = folder / STATE
    try:
        return read_state(path, _HOLDS)
    except StateError as problem:
        raise InputError(f"{path} is damaged ({problem}): {_WAYS_OUT}") from None
    except OSError as problem:
        raise InputError(f"{path} can't be read ({problem}): {_WAYS_OUT}") from None


def _read_earlier(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Of a format in which the record named its tensors."""
    raw = _read_record(folder)
    path, digest = folder / str(raw.get("tensors", "")), raw.get("tensors_digest")
    try:
        if digest is not None and file_digest(path) != digest:
            raise InputError(f"{path} is damaged, its digest is not that in {RECORD}: {_WAYS_OUT}")
        return raw, safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as problem:
        raise InputError(f"{path} can't be read ({problem}): {_WAYS_OUT}") from None


def _read_record(folder: Path) -> dict[str, Any]:
    """What `checkpoint.json` says, whole."""
    path = folder / RECORD
    try:
        raw = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no checkpoint in {folder}: expected a folder that `pomona train` wrote") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} can't be read ({problem}): {_WAYS_OUT}") from None
    if not isinstance(raw, dict) or raw.get("format") not in (_BEFORE_DIGESTS, _EARLIER, FORMAT):
        raise InputError(f"{path} is not a checkpoint of this version of pomona (format {FORMAT})")
    # A damaged name of the digest must not make a record look like one that is older than digests.
    older = raw["format"] == _BEFORE_DIGESTS
    if older != (DIGEST not in raw) or not (older or is_whole(raw)):
        raise InputError(f"{path} is damaged, its digest is not that of its contents: {_WAYS_OUT}")
    return raw


def _record_of(raw: dict[str, Any]) -> CheckpointRecord:
    """Raises DecodeError, which names the field."""
    # Its rows stay plain data, and have to be those of a curve all the same.
    curve_from_json(raw.get("curve", []))
    intervals = {name: _with_nan(raw[name]) for name in ("ci95", "groups_ci95") if raw.get(name)}
    return decoded(raw | intervals, CheckpointRecord)


def _with_nan(bounds: Any) -> Any:
    """Bounds with NaN again where JSON, which lacks it, holds null."""
    return [math.nan if bound is None else bound for bound in bounds] if isinstance(bounds, list) else bounds


def restore_model(model: Classifier, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Loads the `model.` tensors, every one of them."""
    state = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        first = str(problem).strip().splitlines()[-1].strip()
        raise InputError(f"the checkpoint in {folder} does not fit its own backbone: {first}") from None
