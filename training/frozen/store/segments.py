"""Rows by image: read from and written to immutable files, and gathered from several of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...machine.digest import checked_once, tensors_digest
from ...machine.files import atomic_path
from .blocks import SEGMENT_SUFFIX

# What a gather copies at once, so that it needs little memory besides its result.
_CHUNK_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows (len(images), ...) of one block, contiguous, on the CPU."""

    images: tuple[str, ...]
    rows: Tensor

    @cached_property
    def position(self) -> dict[str, int]:
        return {image: position for position, image in enumerate(self.images)}


def write_segment(block: Path, fresh: Rows) -> Path:
    """Writes `fresh` as one file of the block: whole, or not there.

    Raises:
        InputError, OSError: it can't be written.
    """
    # Not above: see `unless_busy`.
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    listed = _listed(fresh.images)
    path = segment_path(block, fresh.images)
    tensors = {"rows": fresh.rows, "images": torch.frombuffer(bytearray(listed), dtype=torch.uint8)}
    described = {"checksum": _checksum(listed, fresh.rows), "rows": tensors_digest({"rows": fresh.rows})}
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=described)
        except SafetensorError as problem:
            raise OSError(str(problem)) from problem
    return path


def segment_path(block: Path, images: Sequence[str]) -> Path:
    """Where the segment of just these images lies in its block."""
    return block / f"{len(images)}-{hashlib.sha256(_listed(images)).hexdigest()[:24]}{SEGMENT_SUFFIX}"


def read_segment(path: Path, *, check_rows: bool = True) -> Rows | None:
    """The segment, its rows memory-mapped (and copied on write); None where it has gone or is damaged.

    The format's own checks find what is cut off, a checksum what is changed in the list of images, type or shape. With
    `check_rows` the bytes of the rows are read too, and checked, when this process opens the file for the first time.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            listed = file.get_tensor("images").numpy().tobytes()
            rows = file.get_tensor("rows")
            described = file.metadata() or {}
        if described.get("checksum") != _checksum(listed, rows):
            return None
        if check_rows and not checked_once(path, lambda: described.get("rows") == tensors_digest({"rows": rows})):
            return None
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Rows(tuple(json.loads(listed)), rows)


def segment_bytes(fresh: Rows) -> int:
    """What the file of `fresh` takes, or slightly more."""
    return fresh.rows.nbytes + len(_listed(fresh.images)) + 1024


def missing(images: Sequence[str], sources: Sequence[Rows]) -> list[int]:
    """Positions of the images that no source has; of an image that comes again, the first."""
    absent: dict[str, int] = {}
    for position, image in enumerate(images):
        if not any(image in source.position for source in sources):
            absent.setdefault(image, position)
    return list(absent.values())


def gather(images: tuple[str, ...], sources: Sequence[Rows]) -> Rows:
    """Rows of `images`, in their order, all of which the sources have: one of the sources where it is just that.

    Raises:
        ValueError: the sources differ in the type or shape of a row.
    """
    for source in sources:
        if source.images == images:
            return source
    kinds = {(source.rows.dtype, source.rows.shape[1:]) for source in sources}
    if len(kinds) > 1:
        raise ValueError(f"rows of one block differ in type or shape, so its key lacks what decides them: {kinds}")
    ((dtype, shape),) = kinds
    rows = torch.empty((len(images), *shape), dtype=dtype)
    target = _as_bytes(rows)
    chunk = max(1, _CHUNK_BYTES // max(1, target.shape[1]))
    pending = list(enumerate(images))
    for source in sources:
        here = [(position, source.position[image]) for position, image in pending if image in source.position]
        pending = [(position, image) for position, image in pending if image not in source.position]
        origin = _as_bytes(source.rows)
        for start in range(0, len(here), chunk):
            to, at = np.array(here[start : start + chunk]).T
            target[to] = origin[at]
    return Rows(images, rows)


def _as_bytes(rows: Tensor) -> NDArray[np.uint8]:
    """(n, bytes of a row), sharing memory: NumPy copies rows by index much faster than torch does on a CPU."""
    return rows.unsqueeze(-1).flatten(1).view(torch.uint8).numpy()


def _listed(images: Sequence[str]) -> bytes:
    return json.dumps(list(images)).encode()


def _checksum(listed: bytes, rows: Tensor) -> str:
    digest = hashlib.sha256(listed)
    digest.update(f"{rows.dtype} {list(rows.shape)}".encode())
    return digest.hexdigest()
