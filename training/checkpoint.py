"""Checkpoints: a folder with tensors (safetensors) and a JSON file that names them and is written last.

The JSON is renamed into place only when its tensors are on the disk, so that a checkpoint is always whole: the new
one, or the one before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from search_spaces import Config, InputError

from .backbones import build
from .backbones.chains import chains_of
from .backbones.folding import folded_stages
from .backbones.quick import quickened
from .data import Kind
from .files import atomic_write_bytes, atomic_write_json
from .model import Classifier, Head
from .numerics import Numerics
from .objectives import Objective, objective_of
from .structure import backbone_of, structure_of

FORMAT = 1
RECORD = "checkpoint.json"


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
    def kind(self) -> Kind:
        return Kind(self.modality, self.columns, self.metric)


@dataclass(frozen=True)
class Checkpoint:
    """A record with its tensors, on the CPU; names begin with `model.` or `optimizer.`."""

    folder: Path
    record: CheckpointRecord
    tensors: dict[str, torch.Tensor]

    @property
    def objective(self) -> Objective:
        return objective_of(self.record.metric, self.record.classes)

    def classifier(self, *, as_trained: bool = False) -> Classifier:
        """The model with its weights, in evaluation mode on the CPU.

        With `as_trained` its stages are folded and quickened as they are in training on a CPU: in bf16 they round in
        other places than the plain ones, and photos on the edge fall to the other side.
        """
        record = self.record
        backbone = build(backbone_of(record.config))
        head = Head(backbone.widths[-1], self.objective.outputs, record.config)
        model = Classifier(backbone, record.config, head)
        model.offset = record.offset
        restore_model(model, self.tensors, self.folder)
        if as_trained:
            cut = structure_of(record.config, len(backbone.stages)).cut
            stages = list(folded_stages(backbone)[:cut])
            for stage, chains in zip(backbone.stages[cut:], chains_of(backbone)[cut:], strict=True):
                stages.append(quickened(stage, chains) if record.numerics.channels_last else stage)
            model.stages = nn.ModuleList(stages)
        return model.eval()


def save_checkpoint(folder: Path, record: CheckpointRecord, tensors: dict[str, torch.Tensor]) -> None:
    """Writes tensors, then the record that names them, then removes the tensors of earlier epochs.

    Args:
        tensors: on the CPU, named as `Checkpoint` has them.

    Raises:
        InputError: no room or no permission; the previous checkpoint is whole.
    """
    name = f"epoch-{record.epoch:04d}.safetensors"
    atomic_write_bytes(folder / name, safetensors.torch.save(tensors))
    atomic_write_json(folder / RECORD, {"format": FORMAT, "tensors": name, **asdict(record)})
    for other in folder.glob("epoch-*.safetensors"):
        if other.name != name:
            other.unlink(missing_ok=True)


def has_checkpoint(folder: Path) -> bool:
    return (folder / RECORD).is_file()


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint from its folder or from the JSON file in it.

    Raises:
        InputError: there is none, it is of a later format, or it is damaged.
    """
    folder = path.parent if path.name == RECORD else path
    try:
        raw = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no checkpoint in {folder}: expected a folder that `pomona train` wrote") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{folder / RECORD} can't be read ({problem}): train again") from None
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
        raise InputError(f"{folder / RECORD} is not a checkpoint of this version of pomona (format {FORMAT})")
    tensors_path = folder / str(raw.pop("tensors", ""))
    try:
        numerics = Numerics(**raw.pop("numerics"))
        classes, interval, groups = tuple(raw.pop("classes")), raw.pop("ci95"), raw.pop("groups_ci95")
        columns = raw.pop("columns", ())
        record = CheckpointRecord(
            **raw,
            numerics=numerics,
            classes=classes,
            columns=tuple(columns),
            ci95=tuple(interval) if interval else None,
            groups_ci95=tuple(groups) if groups else None,
        )
    except (TypeError, KeyError) as problem:
        raise InputError(f"{folder / RECORD} lacks a field or has one too many ({problem}): train again") from None
    try:
        return Checkpoint(folder, record, safetensors.torch.load_file(tensors_path))
    except (OSError, safetensors.SafetensorError) as problem:
        raise InputError(f"{tensors_path} can't be read ({problem}): train again") from None


def restore_model(model: Classifier, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Loads the `model.` tensors, every one of them."""
    state = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        first = str(problem).strip().splitlines()[-1].strip()
        raise InputError(f"the checkpoint in {folder} does not fit its own backbone: {first}") from None
