from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from training.data import contents
from training.data.contents import Content, ContentIndex
from training.machine.digest import note

from .folders import files_below, write_photo

LONG_AGO = 1_000_000_000


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_photo(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("no photo")
    # The time of the last change can't be set, so files made here are always young.
    monkeypatch.setattr(contents, "SETTLED_NS", -1)
    return tmp_path


def _examine(root: Path) -> tuple[list[Content], list[str]]:
    """Contents, and which files were opened for them."""
    opened: list[str] = []
    index = ContentIndex(root)
    read = index._read
    index._read = lambda path: (opened.append(path), read(path))[1]  # type: ignore[method-assign]
    found = index.examine(["a.png", "b.txt"])
    index.save()
    return found, sorted(opened)


def test_a_picture_that_was_read_once_is_not_read_again(root: Path) -> None:
    first, opened = _examine(root)
    assert opened == ["a.png", "b.txt"]
    assert first[0].problem is None
    assert first[1].problem is not None
    # Why the other one is none may have passed: a disk that was away, too little memory.
    assert _examine(root) == (first, ["b.txt"])


def test_a_changed_file_is_read_again_even_if_size_and_time_are_as_before(root: Path) -> None:
    first, _ = _examine(root)
    before = (root / "a.png").stat()
    data = bytearray((root / "a.png").read_bytes())
    data[-1] ^= 1
    (root / "a.png").write_bytes(data)
    os.utime(root / "a.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    second, opened = _examine(root)
    assert opened == ["a.png", "b.txt"]
    assert second[0].digest != first[0].digest


def test_young_files_are_not_remembered(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 10**18)
    os.utime(root / "a.png", (LONG_AGO, LONG_AGO))
    _examine(root)
    assert files_below(cache) == []


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"pillow": "0.1", "files": {}}', b'{"files": 3}', b"\xff"])
def test_a_broken_or_foreign_index_is_as_good_as_none(root: Path, cache: Path, damage: bytes) -> None:
    first, _ = _examine(root)
    (index,) = (cache / "contents").glob("*.json")
    index.write_bytes(damage)
    assert _examine(root) == (first, ["a.png", "b.txt"])
    assert _examine(root) == (first, ["b.txt"])


def test_a_flipped_digit_of_the_index_is_found_and_said(
    root: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = _examine(root)
    (index,) = (cache / "contents").glob("*.json")
    digest = first[0].digest
    index.write_text(index.read_text().replace(digest, digest[:-1] + ("0" if digest[-1] != "0" else "1")))
    note.cache_clear()
    with caplog.at_level(logging.WARNING, "pomona"):
        assert _examine(root) == (first, ["a.png", "b.txt"])
    assert [record.getMessage() for record in caplog.records] == [
        f"{index} is damaged (its digest is not that of its contents): the files it describes are read again"
    ]


def test_looking_at_a_part_does_not_forget_the_rest(root: Path) -> None:
    _examine(root)
    part = ContentIndex(root)
    part.examine(["b.txt"])
    part.save()
    assert _examine(root)[1] == ["b.txt"]


def test_a_file_that_is_gone_is_a_problem_not_a_crash(root: Path) -> None:
    (root / "a.png").unlink()
    found, _ = _examine(root)
    assert found[0].problem == "No such file or directory"
