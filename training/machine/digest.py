"""Digests that tell a damaged file from a whole one: XXH3 of 128 bits, which keeps pace with memory.

They find accidents (a flipped bit, a lost block), not forgeries: whoever can change a file can change its digest.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import json_text

if TYPE_CHECKING:
    import torch

DIGEST = "digest"
"""The key of a JSON object's own digest."""

_CHUNK = 1 << 20
# Longer than the steps in which file systems count time.
_SETTLED_NS = 100_000_000
_log = logging.getLogger("pomona")


class Digest:
    """A digest that grows with what is added; `text` is the algorithm and 32 hexadecimal digits."""

    def __init__(self) -> None:
        # Later than usual, and with a way out: the throughput benchmark runs where only torch is installed. A file that
        # comes from there counts as damaged here, and the other way round, which costs a cache and no result.
        try:
            import xxhash
        except ModuleNotFoundError:
            self._hash: Any = hashlib.blake2b(digest_size=16)
            self._name = "blake2b_128"
        else:
            self._hash = xxhash.xxh3_128()
            self._name = "xxh3_128"

    def add(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)

    @property
    def text(self) -> str:
        return f"{self._name}:{self._hash.hexdigest()}"


def bytes_digest(data: bytes) -> str:
    digest = Digest()
    digest.add(data)
    return digest.text


def file_digest(path: Path, size: int | None = None) -> str:
    """The digest of a file, or of its first `size` bytes.

    Raises:
        OSError: it can't be read.
    """
    digest = Digest()
    left = path.stat().st_size if size is None else size
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while left > 0 and (read := file.readinto(buffer[: min(left, _CHUNK)])):
            digest.add(buffer[:read])
            left -= read
    return digest.text


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The digest of tensors on the CPU: their names, types, shapes and values, in the order of the names."""
    import torch

    digest = Digest()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.add(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # A last axis of one element is there for numbers without axes, which can't be seen as bytes.
        digest.add(tensor.detach().contiguous().unsqueeze(-1).view(torch.uint8).flatten().numpy().data)
    return digest.text


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` as plain JSON data, with the digest of all of it under `DIGEST`."""
    plain: dict[str, Any] = json.loads(json_text(value))
    return plain | {DIGEST: _canonical_digest(plain)}


def is_whole(value: Mapping[str, Any]) -> bool:
    """Whether JSON data that `sealed` gave came back as it was."""
    rest = {key: part for key, part in value.items() if key != DIGEST}
    return value.get(DIGEST) == _canonical_digest(rest)


def _canonical_digest(plain: Mapping[str, Any]) -> str:
    return bytes_digest(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())


def checked_once(path: Path, check: Callable[[], bool]) -> bool:
    """`check`, which reads all of a large file, asked once in this process as long as the file stays what it is.

    Only what was found whole is remembered, and only of files so old that another change would show in their times.

    Raises:
        OSError: there is no such file; and whatever `check` raises.
    """
    status = os.stat(path)
    seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if _whole.get(path) == seen:
        return True
    if not check():
        _whole.pop(path, None)
        return False
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
        _whole[path] = seen
    return True


_whole: dict[Path, tuple[int, ...]] = {}


@functools.cache
def note(sentence: str) -> None:
    """Tells the user, in one line on stderr and once in a process."""
    _log.warning(sentence)
