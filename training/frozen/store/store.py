"""The store: memory first, then disk, and only then the frozen stages themselves."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from search_spaces import InputError

from ...machine.cache import make_cache_folder
from ...machine.digest import note
from ...machine.files import atomic_write_json
from ...machine.interrupts import CheckStop, never_stop, uninterrupted
from ...machine.threads import only_one_process
from . import blocks, limits
from .blocks import BlockKey, BlockUse
from .segments import Rows, gather, missing, read_segment, segment_bytes, segment_path, write_segment

Compute = Callable[[Sequence[int]], Tensor | Iterable[Tensor]]
"""Given the positions of the images that are missing, gives their rows (m, ...), on the CPU: at once, or in pieces."""

STAMP_SECONDS = 10.0
"""A block's time of last use is written no more often than this."""

PORTION_SECONDS = 10.0
"""What is computed for longer is written in portions: a process that is killed loses no more than this."""

# Lists of images whose digest is remembered.
_LISTS = 128

_log = logging.getLogger("pomona")


class PrefixStore:
    """Rows by image content, for every key: each is computed once, whoever asks, in whatever company it is asked for.

    A store may be shared by threads, and its folder by processes; each process has a store of its own.

    Args:
        folder: `prefixes` in the cache folder where it is None.
        disk_limit: bytes of all blocks together; see `limits.disk_limit` for None. 0 writes nothing.
        memory_limit: bytes that this store keeps in memory; see `limits.memory_limit` for None.
    """

    def __init__(
        self, folder: Path | None = None, *, disk_limit: int | None = None, memory_limit: int | None = None
    ) -> None:
        self.folder = blocks.prefix_folder() if folder is None else folder
        self.disk_limit = limits.disk_limit(self.folder) if disk_limit is None else disk_limit
        self.memory_limit = limits.memory_limit() if memory_limit is None else memory_limit
        self._memory = _Memory(self.memory_limit)
        self._stamped: dict[str, float] = {}
        self._told: set[str] = set()

    def rows(
        self,
        block: BlockKey,
        images: Sequence[str],
        compute: Compute,
        *,
        to_disk: Callable[[], bool] = lambda: True,
        check_stop: CheckStop = never_stop,
    ) -> Tensor:
        """Contiguous rows (len(images), ...) in the order of `images`; `compute` is asked for those stored nowhere.

        Not to be written to: the same tensor is given to whoever asks for the same images, as long as it is in memory.
        At once for the same tuple. `to_disk` is asked before something is computed, and may keep it in memory only.
        `compute` may ask for another block, but not for this one, which it would wait for. Pieces that it gave before
        it raised are kept on disk. `check_stop` is called while another process computes the block.

        Raises:
            ValueError: `compute` gives another number of rows than it was asked for, or rows unlike those stored.
        """
        if not images:
            return _joined(_pieces(compute(())))
        images = tuple(images)
        key = (block.digest, _list_digest(images))
        found = self._memory.get(key)
        if found is None:
            rows = self._assembled(block, images) or self._computed(block, images, compute, to_disk(), check_stop)
            found = self._memory.keep(key, rows)
        self._stamp(block)
        return found.rows

    def has(self, block: BlockKey, images: Sequence[str]) -> bool:
        """Whether `rows` would compute nothing. Reads the lists of images, but no rows."""
        images = tuple(images)
        if not images or self._memory.get((block.digest, _list_digest(images))) is not None:
            return True
        return not self.absent(block, images)

    def absent(self, block: BlockKey, images: Sequence[str]) -> set[str]:
        """Those of which `rows` would have to compute something. Reads as `has` does."""
        places = missing(images, [*self._memory.of(block.digest), *self._segments(block, check_rows=False)])
        return {images[place] for place in places}

    def clear(self) -> int:
        """Forgets everything and removes every block that no other process is adding to; returns the bytes freed."""
        self._memory.clear()
        return blocks.clear(self.folder)

    def usage(self) -> list[BlockUse]:
        """The blocks on disk, the most recently used first."""
        return blocks.usage(self.folder)

    def _assembled(self, block: BlockKey, images: tuple[str, ...]) -> Rows | None:
        sources = self._memory.of(block.digest)
        if missing(images, sources):
            sources += self._segments(block)
            if missing(images, sources):
                return None
        with torch.inference_mode(False):
            return gather(images, sources)

    def _computed(
        self, block: BlockKey, images: tuple[str, ...], compute: Compute, to_disk: bool, check_stop: CheckStop
    ) -> Rows:
        with ExitStack() as held:
            locked = to_disk and self._lock(held, block, check_stop)
            # Another thread or process may have computed them in the meantime.
            sources = [*self._memory.of(block.digest), *self._segments(block, tidy=locked)]
            if absent := missing(images, sources):
                pieces = _pieces(compute(absent))
                wanted = tuple(images[position] for position in absent)
                sources.append(self._collected(block, wanted, pieces, to_disk=locked))
        with torch.inference_mode(False):
            return gather(images, sources)

    def _collected(self, block: BlockKey, images: tuple[str, ...], pieces: Iterable[Tensor], *, to_disk: bool) -> Rows:
        """The rows of `images` from their pieces, on disk as one segment.

        What has come is also written now and then, and when computing ends early: nobody has to compute it again.
        """
        folder = self.folder / block.digest
        before = set(blocks.segments(folder))
        done: list[Tensor] = []
        kept = written = 0  # pieces and rows in the portions on disk
        last = time.monotonic()

        def write_portion() -> None:
            nonlocal kept, written, last
            rows = _joined(done[kept:])
            with uninterrupted():
                self._written(block, Rows(images[written : written + len(rows)], rows))
            kept, written, last = len(done), written + len(rows), time.monotonic()

        try:
            for piece in pieces:
                done.append(_plain(piece))
                if to_disk and time.monotonic() - last >= PORTION_SECONDS:
                    write_portion()
        except BaseException:
            if to_disk and len(done) > kept:
                write_portion()
            raise
        fresh = Rows(images, _joined(done))
        if len(fresh.rows) != len(images):
            raise ValueError(f"{len(images)} rows were asked for, {len(fresh.rows)} were given")
        if not to_disk:
            return fresh
        portions = set(blocks.segments(folder)) - before
        if portions and blocks.bytes_in(folder) + segment_bytes(fresh) > self.disk_limit:
            # There is room for the rows once, and most of them are there.
            if len(done) > kept:
                write_portion()
            return fresh
        with uninterrupted():
            whole = self._written(block, fresh)
            if whole is not fresh:
                for path in portions - {segment_path(folder, images)}:
                    path.unlink(missing_ok=True)
        return whole

    def _lock(self, held: ExitStack, block: BlockKey, check_stop: CheckStop) -> bool:
        if self.disk_limit == 0:
            return False
        try:
            make_cache_folder(self.folder)
            held.enter_context(only_one_process(self.folder / block.digest, check_stop))
        except InputError as problem:
            self._tell("write", f"activations are kept in memory only: {problem}")
            return False
        return True

    def _segments(self, block: BlockKey, *, tidy: bool = False, check_rows: bool = True) -> list[Rows]:
        """The block's segments; with `tidy`, for the holder of its lock, damaged ones are removed."""
        folder = self.folder / block.digest
        if tidy:
            blocks.sweep(folder)
        found = []
        # Without inference mode, as what is read outlives the caller's.
        with torch.inference_mode(False):
            for path in blocks.segments(folder):
                segment = read_segment(path, check_rows=check_rows)
                if segment is not None:
                    found.append(segment)
                elif tidy:
                    note(f"{path} is damaged: its activations are computed again")
                    path.unlink(missing_ok=True)
        return found

    def _written(self, block: BlockKey, fresh: Rows) -> Rows:
        """`fresh` as a segment on disk, or as it was where that is not possible: a search goes on without."""
        folder = self.folder / block.digest
        if blocks.bytes_in(folder) + segment_bytes(fresh) > self.disk_limit:
            self._tell(
                "limit",
                f"activations of {block.backbone} at cut {block.cut} would take more than the {self.disk_limit:,} "
                f"bytes that may be kept on disk, so they stay in memory; {limits.DISK} sets another limit",
            )
            return fresh
        try:
            if not (folder / blocks.KEY_FILE).exists():
                atomic_write_json(folder / blocks.KEY_FILE, asdict(block))
            path = write_segment(folder, fresh)
        except (InputError, OSError) as problem:
            self._tell("write", f"activations are kept in memory only: {problem}")
            return fresh
        blocks.stamp(folder)
        blocks.evict(self.folder, self.disk_limit, spare=folder)
        with torch.inference_mode(False):
            return read_segment(path) or fresh

    def _stamp(self, block: BlockKey) -> None:
        now = time.monotonic()
        if now - self._stamped.get(block.digest, -STAMP_SECONDS) >= STAMP_SECONDS:
            self._stamped[block.digest] = now
            blocks.stamp(self.folder / block.digest)

    def _tell(self, kind: str, sentence: str) -> None:
        """Once for each kind: what hinders the store hinders every block."""
        if kind not in self._told:
            self._told.add(kind)
            _log.warning(sentence)


class _Memory:
    """Assembled rows by (block, digest of the list of images); the least recently used go first. For many threads."""

    def __init__(self, limit: int) -> None:
        # Later than usual: the throughput benchmark runs without it.
        from cachetools import LRUCache

        self._kept: LRUCache[tuple[str, str], Rows] = LRUCache(limit, getsizeof=lambda rows: rows.rows.nbytes)
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> Rows | None:
        with self._lock:
            return self._kept.get(key)

    def keep(self, key: tuple[str, str], rows: Rows) -> Rows:
        """`rows`, or what another thread has kept in the meantime."""
        # What is larger than the limit is not kept.
        with self._lock, suppress(ValueError):
            return self._kept.setdefault(key, rows)
        return rows

    def of(self, block: str) -> list[Rows]:
        """All rows of a block. To look through them does not count as a use, hence the call of the base class."""
        from cachetools import Cache

        with self._lock:
            return [Cache.__getitem__(self._kept, key) for key in self._kept if key[0] == block]

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


@lru_cache(maxsize=_LISTS)
def _list_digest(images: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(images).encode()).hexdigest()


def _pieces(computed: Tensor | Iterable[Tensor]) -> Iterable[Tensor]:
    return [computed] if isinstance(computed, Tensor) else computed


def _joined(pieces: Iterable[Tensor]) -> Tensor:
    whole = list(pieces)
    if len(whole) == 1:
        return whole[0]
    with torch.inference_mode(False):
        return torch.cat(whole)


def _plain(rows: Tensor) -> Tensor:
    """As training may use it: no history, and contiguous."""
    with torch.inference_mode(False):
        return (rows.clone() if rows.is_inference() else rows.detach()).contiguous()
