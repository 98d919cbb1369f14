"""Checkpoints of ensembles: a folder with a checkpoint for each member, and `ensemble.json`, which names them.

The file is written last, once all members are there. It has their digests: a folder in which one was replaced is no
ensemble any more.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from search_spaces import Config, InputError

from ..machine.decode import DecodeError, decoded
from ..machine.digest import file_digest, is_whole, sealed
from ..machine.files import atomic_write_json
from ..machine.precision import Numerics
from ..models.ensemble import Ensemble
from ..scoring.intervals import Estimate
from .checkpoint import ENSEMBLE, RECORD, STATE, Checkpoint, classifier_of, load_checkpoint

_FORMAT = 1
_WAYS_OUT = "train it again with another --out, or restore a copy of the folder"


@dataclass(frozen=True)
class Member:
    """A member in `folder` below that of the ensemble. `trial` is the number of the trial whose config it has."""

    folder: str
    weight: float
    trial: int
    digest: str = ""


@dataclass(frozen=True)
class _Written:
    """What the file says. The value and its intervals are those of the whole on the validation split."""

    format: int
    members: tuple[Member, ...]
    estimate: Estimate
    grouped: Estimate | None
    seconds_per_image: float


@dataclass(frozen=True)
class EnsembleCheckpoint(Checkpoint):
    """Several checkpoints of one task and data that answer as one, with weights that sum to 1.

    `record` is that of the member with the largest inputs, but for the value of the whole and its intervals. Its curve
    is that of the member with the largest weight. `tensors` are all members', their names behind the members' folders.
    `seconds_per_image` is what an answer took when it was made.
    """

    members: tuple[Checkpoint, ...] = ()
    weights: tuple[float, ...] = ()
    trials: tuple[int, ...] = ()
    seconds_per_image: float | None = None

    @property
    def trained_on(self) -> torch.Tensor | None:
        return self.members[0].trained_on

    @property
    def is_of_one_training_set(self) -> bool:
        """Whether all members were trained on the same examples: else what is `valid` to one another has seen."""
        first, *others = (member.trained_on for member in self.members)
        return all(
            one is first or (one is not None and first is not None and torch.equal(one, first)) for one in others
        )

    @property
    def resolutions(self) -> tuple[int, ...]:
        return tuple(sorted({member.record.taken for member in self.members}))

    @property
    def configs(self) -> list[Config]:
        return [member.record.config for member in self.members]

    @property
    def curve_of(self) -> str:
        return f"trial {self.trials[_heaviest(self.weights)]}, the heaviest of {len(self.members)}"

    def classifier(self, lowered_for: torch.device | None = None, numerics: Numerics | None = None) -> Ensemble:
        return Ensemble([classifier_of(one, lowered_for, numerics) for one in self.members], self.weights).eval()


def save_ensemble(
    folder: Path, members: Sequence[Member], estimate: Estimate, grouped: Estimate | None, seconds_per_image: float
) -> None:
    """Makes the checkpoints of `members`, which are in `folder`, one ensemble.

    Raises:
        InputError: one of them is not there, or there is no room or no permission.
    """
    whole = tuple(replace(member, digest=_digest(folder / member.folder)) for member in members)
    written = _Written(_FORMAT, whole, estimate, grouped, seconds_per_image)
    atomic_write_json(folder / ENSEMBLE, sealed(asdict(written)))


def load_model(path: Path) -> Checkpoint:
    """Reads a checkpoint, that of an ensemble too, from its folder or from a file in it.

    Raises:
        InputError: as from `load_checkpoint`; also where a member of an ensemble is not what it was.
    """
    folder = path.parent if path.name in (ENSEMBLE, STATE, RECORD) else path
    return load_ensemble(folder) if os.path.isfile(folder / ENSEMBLE) else load_checkpoint(path)


def load_ensemble(folder: Path) -> EnsembleCheckpoint:
    """Raises InputError where the folder holds no ensemble, or one that is damaged."""
    written = _written_in(folder / ENSEMBLE)
    for member in written.members:
        if _digest(folder / member.folder) != member.digest:
            raise InputError(f"{folder / member.folder} is not the member that it was: {_WAYS_OUT}")
    ensemble = assembled(folder, written.members)
    estimate, grouped = written.estimate, written.grouped
    record = replace(
        ensemble.record,
        value=estimate.value,
        ci95=estimate.ci95,
        n=estimate.n,
        groups_ci95=grouped.ci95 if grouped else None,
        n_groups=grouped.n if grouped else 0,
    )
    return replace(ensemble, record=record, seconds_per_image=written.seconds_per_image)


def assembled(folder: Path, parts: Sequence[Member]) -> EnsembleCheckpoint:
    """An ensemble of checkpoints in `folder`, before it is written; its record has no value of its own yet.

    Raises:
        InputError: one of them is not there, or it is damaged.
    """
    members = tuple(load_checkpoint(folder / part.folder) for part in parts)
    weights = tuple(part.weight for part in parts)
    tensors = {
        f"{part.folder}/{n}": t for part, one in zip(parts, members, strict=True) for n, t in one.tensors.items()
    }
    largest = max((member.record for member in members), key=lambda record: (record.taken, record.resolution))
    record = replace(
        largest,
        curve=members[_heaviest(weights)].record.curve,
        value=None,
        ci95=None,
        n=0,
        groups_ci95=None,
        n_groups=0,
    )
    return EnsembleCheckpoint(folder, record, tensors, members, weights, tuple(part.trial for part in parts))


def _written_in(path: Path) -> _Written:
    try:
        raw = decoded(json.loads(path.read_bytes()), dict[str, Any])
        numbers = {name: _with_nan(raw.get(name)) for name in ("estimate", "grouped")}
        written = decoded(raw | numbers, _Written)
    except DecodeError as problem:
        raise InputError(f"{path} is of another version of pomona, or damaged ({problem}): {_WAYS_OUT}") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} can't be read ({problem}): {_WAYS_OUT}") from None
    if not is_whole(raw) or written.format != _FORMAT or not written.members:
        raise InputError(f"{path} is damaged, its digest is not that of its contents: {_WAYS_OUT}")
    return written


def _with_nan(estimate: Any) -> Any:
    """With NaN again where JSON, which lacks it, holds null."""
    if not isinstance(estimate, dict):
        return estimate
    return {name: math.nan if number is None else number for name, number in estimate.items()}


def _heaviest(weights: Sequence[float]) -> int:
    return max(range(len(weights)), key=lambda place: weights[place])


def _digest(folder: Path) -> str:
    path = folder / STATE
    try:
        return file_digest(path)
    except OSError as problem:
        raise InputError(f"{path} can't be read ({problem.strerror}): {_WAYS_OUT}") from None
