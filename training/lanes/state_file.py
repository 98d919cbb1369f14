"""The file of a state after an epoch: tensors, and a record of what they are, whole or not there at all.

A lane that pauses and a model that is kept are both such a file. It is a safetensors file; under `KEY` its metadata
holds JSON: the format, what the file holds, the record, and a digest of the tensors, all of it under a digest of its
own. The other metadata mark a file as ours, whatever became of its contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..machine.digest import sealed, tensors_digest
from ..machine.files import atomic_write_bytes, json_text
from .state_record import FORMAT as FORMAT
from .state_record import HOLDS, KEY, MADE_BY, check_description, description_in
from .state_record import StateError as StateError


def write_state(path: Path, holds: str, record: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes one file, atomically.

    Args:
        holds: what kind of state it is; whoever reads it says the same.
        record: plain data; numbers that JSON lacks become null.
        tensors: on the CPU and contiguous, none of them sharing memory.

    Raises:
        InputError: no room or no permission; what was there stays.
    """
    described = sealed({"format": FORMAT, "holds": holds, "record": record, "tensors": tensors_digest(tensors)})
    metadata = {MADE_BY: "pomona", HOLDS: holds, KEY: json_text(described, indent=None)}
    atomic_write_bytes(path, safetensors.torch.save(dict(tensors), metadata))


def read_state(path: Path, holds: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The record and the tensors, on the CPU.

    Raises:
        StateError: they are not what `write_state` wrote.
        OSError: there is no such file, or it can't be read.
    """
    described, tensors = read_metadata(path, KEY)
    check_description(described, holds)
    if described["tensors"] != tensors_digest(tensors):
        raise StateError("its digest is not that of its contents")
    return described["record"], tensors


def read_metadata(path: Path, key: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The JSON object under `key` in the metadata of a safetensors file, and the tensors, none of it checked.

    Raises:
        StateError: there is no such object.
        OSError: there is no such file, or it can't be read.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            described = description_in(file.metadata(), key)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (ValueError, safetensors.SafetensorError) as problem:
        raise StateError(str(problem)) from None
    return described, tensors


def is_state(path: Path, holds: str) -> bool:
    """Whether pomona wrote the file, damaged or not; a link to one is somebody else's."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            mark = {MADE_BY: "pomona", HOLDS: holds}
            return not path.is_symlink() and (file.metadata() or {}).items() >= mark.items()
    except (OSError, safetensors.SafetensorError):
        return False
