"""How much an archive may hold: a few megabytes can unpack to more than any disk, and headers can lie about it."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Photos hardly shrink, texts to a tenth, tables to a hundredth at most.
_MOST_RATIO = 100
# However small the archive is.
_ALWAYS = 2**26
# A published batch of CIFAR-10 has 31 MB.
_MOST_MEMBER = 2**28
_MOST_ENTRIES = 1_000_000
_PIECE = 2**20


class _Allowance:
    """What may still be unpacked from an archive of `packed` bytes."""

    def __init__(self, packed: int) -> None:
        self._bytes = max(_ALWAYS, _MOST_RATIO * packed)
        self._entries = _MOST_ENTRIES

    def entry(self, size: int) -> None:
        """Counts a member that says it has `size` bytes.

        Raises:
            ValueError: it is too large, or one too many.
        """
        if size > _MOST_MEMBER:
            raise ValueError(f"a file in it has {size:,} bytes, more than {_MOST_MEMBER:,}")
        self._entries -= 1
        if self._entries < 0:
            raise ValueError(f"it holds more than {_MOST_ENTRIES:,} files")

    def take(self, size: int) -> None:
        """Counts bytes as they are unpacked.

        Raises:
            ValueError: they are too many.
        """
        self._bytes -= size
        if self._bytes < 0:
            raise ValueError(f"it unpacks to more than {_MOST_RATIO} times its size")


class _Counted(io.RawIOBase):
    """A packed stream that is unpacked no further than is allowed."""

    def __init__(self, stream: gzip.GzipFile, allowance: _Allowance) -> None:
        self._stream = stream
        self._allowance = allowance
        self._reached = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self._reach(offset)
        return self._stream.seek(offset)

    def read(self, size: int = -1) -> bytes:
        # Names and their attributes are read in one piece, however long a header says they are.
        if not 0 <= size <= _MOST_MEMBER:
            raise ValueError(f"a header in it has {size:,} bytes")
        data = self._stream.read(size)
        self._reach(self._stream.tell())
        return data

    def _reach(self, place: int) -> None:
        if place > self._reached:
            self._allowance.take(place - self._reached)
            self._reached = place


def tar_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the plain files of a gzipped tar, in its order; links and devices are none.

    Raises:
        ValueError: it unpacks to too much.
    """
    allowance = _Allowance(archive.stat().st_size)
    with gzip.open(archive) as stream, tarfile.open(fileobj=_Counted(stream, allowance), mode="r:") as tar:
        for member in tar:
            allowance.entry(member.size)
            # Of a sparse file the holes are in no archive.
            if member.isreg() and not member.issparse() and (content := tar.extractfile(member)) is not None:
                yield member.name.removeprefix("./"), content.read()


class Zip:
    """An open zip, whose own checksums are looked at as its members are read."""

    def __init__(self, packed: zipfile.ZipFile, size: int) -> None:
        self._packed = packed
        self._allowance = _Allowance(size)
        self.names = tuple(packed.namelist())
        if len(self.names) > _MOST_ENTRIES:
            raise ValueError(f"it holds more than {_MOST_ENTRIES:,} files")

    def read(self, name: str) -> bytes:
        """
        Raises:
            KeyError: there is no such member.
            ValueError: it is too large, or all that was read is.
        """
        member = self._packed.getinfo(name)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is packed in a way that is not known here")
        self._allowance.entry(member.file_size)
        # In pieces, as a header may say less than there is to unpack.
        with self._packed.open(member) as file:
            content = bytearray()
            while piece := file.read(_PIECE):
                self._allowance.take(len(piece))
                content += piece
        return bytes(content)


@contextmanager
def opened_zip(archive: Path) -> Iterator[Zip]:
    """A zip, read from memory: to seek in a file where a damaged index points to is an OSError, like a failing disk."""
    try:
        content = archive.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            yield Zip(packed, len(content))
    except RuntimeError as problem:  # a way to pack, or a password, that nobody expects here
        raise ValueError(problem) from None
