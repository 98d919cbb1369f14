"""Digests: what is sealed comes back whole, what is changed does not, and large files are read once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.machine import digest
from training.machine.digest import (
    DIGEST,
    Digest,
    bytes_digest,
    checked_once,
    file_digest,
    is_whole,
    sealed,
    tensors_digest,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text().filter(lambda key: key != DIGEST), _JSON, max_size=4)


@given(_OBJECTS)
def test_what_is_sealed_is_whole_however_json_is_laid_out(value: dict[str, object]) -> None:
    read = json.loads(json.dumps(sealed(value), indent=3, ensure_ascii=False))
    assert is_whole(read)
    assert not is_whole({key: part for key, part in read.items() if key != DIGEST})


@given(_OBJECTS.filter(bool), st.data())
def test_a_flipped_bit_of_sealed_json_is_found_or_changes_no_value(
    value: dict[str, object], data: st.DataObject
) -> None:
    whole = sealed(value)
    text = bytearray(json.dumps(whole).encode())
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = json.loads(text)
    except ValueError:
        return
    assert not isinstance(read, dict) or not is_whole(read) or json.dumps(read) == json.dumps(whole)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_the_digest_of_parts_is_that_of_the_whole_and_of_a_file(one: bytes, other: bytes) -> None:
    grown = Digest()
    grown.add(one)
    grown.add(other)
    assert grown.text == bytes_digest(one + other)
    assert (bytes_digest(one) == bytes_digest(other)) == (one == other)


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_CHUNK", 7)
    content = bytes(range(100))
    (tmp_path / "file").write_bytes(content)
    for size in (0, 1, 7, 20, 100):
        assert file_digest(tmp_path / "file", size) == bytes_digest(content[:size])
    assert file_digest(tmp_path / "file") == bytes_digest(content)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_tensors_of_every_type_and_shape_have_a_digest(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape).to(dtype)
    told = tensors_digest({"a": tensor, "b": tensor})
    assert told == tensors_digest({"b": tensor.clone(), "a": tensor})
    others: list[dict[str, torch.Tensor]] = [
        {"a": tensor, "c": tensor},
        {"a": tensor, "b": tensor.unsqueeze(0)},
        {"a": tensor, "b": tensor.to(torch.float64)},
    ]
    if tensor.numel():
        others.append({"a": tensor, "b": torch.zeros_like(tensor)})
    assert told not in [tensors_digest(other) for other in others]


def test_a_file_that_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    # Two changes in one step of the file system's clock could not be told apart.
    file, asked = tmp_path / "file", []
    file.write_text("whole")
    for _ in range(2):
        assert checked_once(file, lambda: asked.append(1) is None)
    assert len(asked) == 2


def test_what_was_whole_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_SETTLED_NS", -(10**18))
    file, asked = tmp_path / "file", []
    file.write_text("whole")
    for _ in range(3):
        assert checked_once(file, lambda: asked.append(1) is None)
    assert len(asked) == 1
    file.write_text("something else")
    assert not checked_once(file, lambda: False)
    with pytest.raises(FileNotFoundError):
        checked_once(tmp_path / "gone", lambda: True)


def test_without_the_library_there_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    with_library = bytes_digest(b"content")
    monkeypatch.setitem(sys.modules, "xxhash", None)
    assert bytes_digest(b"content") == bytes_digest(b"content") != bytes_digest(b"contents")
    assert bytes_digest(b"content") != with_library
    assert len(bytes_digest(b"").partition(":")[2]) == len(with_library.partition(":")[2]) == 32
