"""Blocks on disk: a folder for each key, with `block.json` and segments of rows beside it.

prefixes/<block digest>/block.json                          the key; its time of change is that of the last use
prefixes/<block digest>/<rows>-<list digest>.safetensors    see `segments.py`
prefixes/<block digest>.lock                                held by whoever adds to the block or removes it
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from ...machine.cache import cache_folder
from ...machine.decode import decoded

LAYOUT = 2
"""Part of every key; to be raised when the files, or what is computed into them, change their meaning."""

KEY_FILE = "block.json"
SEGMENT_SUFFIX = ".safetensors"

_DIGITS = 24
_BLOCK = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")
_SEGMENT = re.compile(rf"(\d+)-[0-9a-f]{{24}}{re.escape(SEGMENT_SUFFIX)}")
# A writer that was killed leaves one, with random characters behind the name that it was to get.
_LEFTOVER = re.compile(rf"\.({re.escape(KEY_FILE)}|{_SEGMENT.pattern})\.\w+")


@dataclass(frozen=True)
class BlockKey:
    """Everything besides the image that decides a row.

    `weights` is their digest; `further` is what is done to images besides their size and augmentation (`InputSpec`),
    empty for nothing; `precision` names type, memory layout and device, as in "bf16, channels_last, cpu".
    `torch` is its version, `kernels` the revision of our own operators: another one may round in another way.
    """

    backbone: str
    weights: str
    resolution: int
    augmentation: int
    further: str
    view: int
    cut: int
    precision: str
    torch: str
    kernels: int

    @cached_property
    def digest(self) -> str:
        """24 hexadecimal digits, the name of the block's folder."""
        text = json.dumps([LAYOUT, *asdict(self).items()])
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class BlockUse:
    """What a block takes; `key` is None where its file can't be read, `last_used` is in seconds since 1970."""

    folder: Path
    key: BlockKey | None
    rows: int
    bytes: int
    last_used: float


def prefix_folder() -> Path:
    return cache_folder("prefixes")


def usage(folder: Path) -> list[BlockUse]:
    """The blocks in `folder`, the most recently used first."""
    blocks = [_use(block) for block in _listed(folder) if is_block(block)]
    return sorted(blocks, key=lambda block: block.last_used, reverse=True)


def evict(folder: Path, limit: int, spare: Path) -> int:
    """Removes blocks, the least recently used first, until `limit` bytes are kept; returns the bytes freed.

    `spare` stays, and so does a block that somebody is adding to. Whoever has mapped a segment keeps what was read.
    """
    blocks = usage(folder)
    excess = sum(block.bytes for block in blocks) - limit
    freed = 0
    for block in reversed(blocks):
        if freed >= excess:
            break
        if block.folder != spare:
            freed += _remove(block.folder)
    return freed


def clear(folder: Path) -> int:
    """Removes every block that nobody is adding to; returns the bytes freed."""
    return sum(_remove(block.folder) for block in usage(folder))


def bytes_in(block: Path) -> int:
    return _use(block).bytes


def is_block(path: Path) -> bool:
    """Whether `path` is a block's folder, and no link to somewhere else."""
    return _BLOCK.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def segments(block: Path) -> list[Path]:
    """The files of rows in a block; none where it is not there or can't be read."""
    return [file for file in _listed(block) if _SEGMENT.fullmatch(file.name)]


def is_ours(file: Path) -> bool:
    """Whether a file in a block has a name that we give. Nothing else is ever removed."""
    return file.name == KEY_FILE or any(name.fullmatch(file.name) for name in (_SEGMENT, _LEFTOVER))


def sweep(block: Path) -> None:
    """Removes what killed writers have left. To be called by the holder of the block's lock."""
    for file in _listed(block):
        if _LEFTOVER.fullmatch(file.name):
            with suppress(OSError):
                file.unlink()


def stamp(block: Path) -> None:
    """Notes that the block is used now; nothing where it has gone or may not be written."""
    with suppress(OSError):
        os.utime(block / KEY_FILE)


@contextmanager
def unless_busy(path: Path) -> Iterator[bool]:
    """Holds the lock of `path`, as `only_one_process` does, but does not wait: False where another holds it."""
    # Libraries of the store are imported where it works: without a store, the core needs torch and nothing else.
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _remove(block: Path) -> int:
    freed = 0
    with unless_busy(block) as free:
        if free:
            for file in filter(is_ours, _listed(block)):
                with suppress(OSError):
                    size = file.lstat().st_size
                    file.unlink()
                    freed += size
            # Not where somebody has put something else.
            with suppress(OSError):
                block.rmdir()
    return freed


def _use(block: Path) -> BlockUse:
    rows = size = 0
    last_used = 0.0
    for file in _listed(block):
        # What has gone since it was listed takes nothing.
        with suppress(OSError):
            status = file.lstat()
            size += status.st_size
            if segment := _SEGMENT.fullmatch(file.name):
                rows += int(segment[1])
            if file.name == KEY_FILE:
                last_used = status.st_mtime
    return BlockUse(block, _key(block), rows, size, last_used)


def _key(block: Path) -> BlockKey | None:
    try:
        key = decoded(json.loads((block / KEY_FILE).read_bytes()), BlockKey)
        # The folder is named by the digest of its key: what is damaged, or of an earlier layout, does not fit.
        return key if key.digest == block.name else None
    except (OSError, ValueError):
        return None


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
