"""The one file of a state after an epoch: it comes back as it was written, or says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.lanes.state_file import StateError, is_state, read_state, write_state

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
TENSORS = st.dictionaries(
    st.text("abc.", min_size=1, max_size=6),
    st.builds(
        lambda dtype, shape: torch.arange(torch.Size(shape).numel()).to(dtype).reshape(shape),
        DTYPES,
        st.lists(st.integers(0, 3), max_size=3),
    ),
    max_size=3,
)


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, object]:
    return {name: (tensor.dtype, tensor.tolist()) for name, tensor in tensors.items()}


@given(st.dictionaries(st.text(), PLAIN, max_size=4), TENSORS)
def test_it_comes_back(record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        write_state(path, "thing", record, tensors)
        again, loaded = read_state(path, "thing")
        assert again == record
        assert plain(loaded) == plain(tensors)
        assert is_state(path, "thing")
        assert not is_state(path, "other")
        with pytest.raises(StateError, match="holds a thing, not a other"):
            read_state(path, "other")


@given(st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(data: st.DataObject) -> None:
    record, tensors = {"a": [1, 2.5, None]}, {"x": torch.tensor([1.5, 2.0]), "y": torch.tensor(3)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        write_state(path, "thing", record, tensors)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        try:
            again, loaded = read_state(path, "thing")
        except StateError:
            return
        assert (again, plain(loaded)) == (record, plain(tensors))


@pytest.mark.parametrize(
    "metadata", [None, {"state": "{"}, {"state": "[]"}, {"state": "{}"}, {"state": '{"format": 4}'}, {"other": "{}"}]
)
def test_files_of_others_are_told(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "state"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(StateError):
        read_state(path, "thing")
    assert not is_state(path, "thing")
    path.write_bytes(b"mine")
    with pytest.raises(StateError):
        read_state(path, "thing")
    assert not is_state(path, "thing")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "none", "thing")
    assert not is_state(tmp_path / "none", "thing")
