"""Whole photos as uint8 squares: rows of one memory-mapped array, decoded once per set of contents and resolution."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from search_spaces import InputError

from ..machine.cache import another_folder, cache_folder, make_cache_folder
from ..machine.digest import bytes_digest, checked_once, file_digest, note
from ..machine.files import WriteError, atomic_path
from ..machine.threads import Progress, in_threads, only_one_process
from .pictures import read_rgb as read_rgb
from .pictures import square as square
from .pictures import why_unreadable as why_unreadable

DECODING = 1
"""Part of every key; to be raised when the pixels that come out change."""


@cache
def decoder() -> str:
    """Part of every key too: what pixels come out of a file depends on Pillow and on the library that reads JPEG."""
    from PIL import features

    read_by = f"{DECODING} {PIL.__version__} {features.version_codec('jpg')}"
    return hashlib.sha256(read_by.encode()).hexdigest()[:8]


# Stands behind the pixels, where NumPy does not look: this, and the digest of everything before it.
_FOOTER = b"pomona"


def decoded(
    photos: Mapping[str, Path],
    resolution: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """The photos (from a file's digest, as in `Content`, to its path) as uint8 (n, resolution, resolution, 3), in the
    order of their digests; memory-mapped from the cache, which is filled first where it has them not or is damaged.

    A file's own digest is checked when a process opens it for the first time.

    Raises:
        InputError: a file is not what it was when its digest was taken, or the cache can't be written.
    """
    digests = sorted(photos)
    path = _path(digests, resolution)
    shape = (len(digests), resolution, resolution, 3)
    pool = _mapped(path, shape)
    if pool is None:
        make_cache_folder(path.parent)
        with only_one_process(path):
            # Another process may have made it in the meantime.
            pool = _mapped(path, shape)
            if pool is None:
                if path.exists():
                    note(f"{path} is damaged or of an earlier version: its photos are decoded again")
                try:
                    _decode(path, [(digest, photos[digest]) for digest in digests], shape, workers, progress)
                except WriteError as problem:
                    raise WriteError(another_folder(problem)) from None
                pool = _mapped(path, shape)
    if pool is None:
        raise InputError(f"{path} is not what was written to it: look after the disk, or name another POMONA_CACHE")
    return pool


def is_decoded(digests: Iterable[str], resolution: int) -> bool:
    """Whether the cache has a file for the photos of these digests, whole or not."""
    return _path(sorted(digests), resolution).is_file()


def _path(digests: Sequence[str], resolution: int) -> Path:
    """Where the photos of these digests, which are sorted, lie in the cache."""
    key = hashlib.sha256(f"{decoder()} {resolution} {' '.join(digests)}".encode()).hexdigest()[:24]
    return cache_folder("decoded") / f"{key}.npy"


def _decode(
    path: Path,
    photos: list[tuple[str, Path]],
    shape: tuple[int, int, int, int],
    workers: int | None,
    progress: Progress | None,
) -> None:
    resolution = shape[1]
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        start, row_bytes = array.offset, array[0].nbytes
        del array

        def write_row(row: int) -> None:
            digest, photo = photos[row]
            try:
                data = photo.read_bytes()
            except OSError:
                data = b""
            if hashlib.sha256(data).hexdigest() != digest.partition(".")[0]:
                raise InputError(f"{photo} has changed since the folder was read: start again")
            pixels = square(data, resolution).tobytes()
            # Written and not mapped: on a full disk a write says so, while a mapped page kills the process.
            with temporary.open("r+b") as file:
                file.seek(start + row * row_bytes)
                file.write(pixels)

        in_threads(write_row, range(len(photos)), workers=workers, progress=progress)
        footer = _footer(temporary)
        with temporary.open("ab") as file:
            file.write(footer)


def _footer(path: Path, size: int | None = None) -> bytes:
    """What belongs behind the first `size` bytes of a file, all of it by default."""
    return _FOOTER + file_digest(path, size).encode()


_FOOTER_BYTES = len(_FOOTER + bytes_digest(b"").encode())


def _is_whole(path: Path) -> bool:
    payload = path.stat().st_size - _FOOTER_BYTES
    with path.open("rb") as file:
        file.seek(max(0, payload))
        footer = file.read()
    return payload >= 0 and footer.startswith(_FOOTER) and footer == _footer(path, payload)


def _mapped(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """The array at `path`, copied on write; None where it is missing or damaged."""
    try:
        if not checked_once(path, lambda: _is_whole(path)):
            return None
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(array) if array.shape == shape and array.dtype == np.uint8 else None
