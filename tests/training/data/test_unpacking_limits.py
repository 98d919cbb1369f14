"""Archives that unpack to more than they look: refused in a line, with nothing left behind and little memory used."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search_spaces import InputError
from training.data.idx import read_idx
from training.data.published import unpacking_limits
from training.data.published.sources import _write
from training.data.published.unpacking import unpack_cifar10, unpack_class_folders, unpack_sms_spam
from training.data.published.unpacking_limits import opened_zip, tar_members

from .archives import cifar_members, packed, sms_zip, tgz, write_all
from .folders import files_below

LIMIT = 50_000


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_ALWAYS": LIMIT, "_MOST_RATIO": 20, "_MOST_MEMBER": LIMIT, "_MOST_ENTRIES": 60}.items():
        monkeypatch.setattr(unpacking_limits, name, value)


def _noise(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


def _with_member(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("a")
        entry.size = 1
        change(entry)
        tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return buffer.getvalue()


def _long_comment(entry: tarfile.TarInfo) -> None:
    entry.pax_headers = {"comment": "x" * (LIMIT + 1)}


BOMBS = {
    "one large file": (tgz({"a": bytes(LIMIT + 1)}), "more than 50,000"),
    "many files": (tgz({str(number): bytes(LIMIT // 10) for number in range(30)}), "20 times its size"),
    "countless files": (tgz({str(number): b"" for number in range(61)}), "more than 60 files"),
    "a long name": (_with_member(_long_comment), "header"),
}


@pytest.mark.parametrize(("content", "reason"), BOMBS.values(), ids=BOMBS)
def test_a_tar_that_unpacks_to_too_much_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=rf"c\.tgz does not hold what it should .*{reason}"):
        _write(tmp_path / "out", lambda to: unpack_cifar10(write_all(tmp_path, c_tgz=content), to))
    assert files_below(tmp_path) == ["c.tgz"]


def test_links_and_devices_are_no_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(f"{number}")
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
        entry = tarfile.TarInfo("file")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"ok"))
    [archive] = write_all(tmp_path, c_tgz=buffer.getvalue())
    assert list(tar_members(archive)) == [("file", b"ok")]


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 50,000"):
        unpack_sms_spam(write_all(tmp_path, s_zip=sms_zip(bytes(LIMIT + 1))), tmp_path / "out")
    photos = {f"x/{split}/{n}/{i}.jpg": bytes(9_000) for split in ("train", "validation") for n in "ab" for i in "123"}
    with pytest.raises(InputError, match="20 times its size"):
        unpack_class_folders(write_all(tmp_path, p_zip=packed(photos)), tmp_path / "out", classes={"a": "a", "b": "b"})


def test_a_header_that_says_less_than_there_is_unpacks_no_more_than_a_piece(tmp_path: Path) -> None:
    content = sms_zip(bytes(LIMIT))
    lying = content.replace(struct.pack("<I", LIMIT), struct.pack("<I", 10))
    assert lying != content
    with pytest.raises(InputError, match="does not hold what it should"):
        unpack_sms_spam(write_all(tmp_path, s_zip=lying), tmp_path / "out")


def test_what_hardly_shrinks_may_be_of_any_size(tmp_path: Path) -> None:
    photos = {str(number): _noise(LIMIT // 2) for number in range(8)}
    [tar, zipped] = write_all(tmp_path, c_tgz=tgz(photos), p_zip=packed(photos))
    assert dict(tar_members(tar)) == photos
    with opened_zip(zipped) as archive:
        assert {name: archive.read(name) for name in archive.names} == photos
    unpack_cifar10(write_all(tmp_path, c_tgz=tgz(cifar_members())), tmp_path / "out")


@pytest.mark.parametrize("counts", [(2**31, 4, 4), (1, 4, 3), (1, 3, 4), (2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_images_are_read_no_further_than_their_header_says(tmp_path: Path, counts: tuple[int, int, int]) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    header = b"\0\0\x08\x03" + struct.pack(">3I", *counts)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(13)))
    with pytest.raises(InputError, match=r"cut off|longer than it says|more than"):
        read_idx(tmp_path)
