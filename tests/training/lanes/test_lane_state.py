"""A saved lane comes back as it was, or not at all and with a note."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import EpochResult, load_lane, save_lane
from training.lanes.lane_state import LaneState
from training.machine.digest import DIGEST, note

ABOUT = {"config": {"learning_rate": 0.1, "optimizer": "sgd"}, "seed": 3}
STATE = LaneState(
    {"model.head.weight": torch.tensor([[1.5, -2.0]]), "optimizer.0.step": torch.tensor(4.0)},
    (EpochResult(1, 3, 0.5, math.nan, 0.7, 1.0, 10, 0),),
    torch.tensor([1, 0, 2]),
    1.25,
)


@pytest.fixture(autouse=True)
def _said_anew() -> Iterator[None]:
    note.cache_clear()
    yield
    note.cache_clear()


def same(found: LaneState | None) -> bool:
    return (
        found is not None
        and found.tensors.keys() == STATE.tensors.keys()
        and all(torch.equal(found.tensors[name], tensor) for name, tensor in STATE.tensors.items())
        and str(found.curve) == str(STATE.curve)  # NaN differs from itself
        and found.answers is not None
        and found.answers.tolist() == [1, 0, 2]
        and found.seconds == STATE.seconds
    )


def test_a_lane_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_lane(tmp_path / "lane", STATE, ABOUT)
    assert same(load_lane(tmp_path / "lane", ABOUT))
    assert load_lane(tmp_path / "lane", ABOUT | {"seed": 4}) is None
    assert load_lane(tmp_path / "none", ABOUT) is None
    assert caplog.records == []


@given(st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lane"
        save_lane(path, STATE, ABOUT)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        found = load_lane(path, ABOUT)
        assert found is None or same(found)


def test_a_damaged_lane_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_lane(tmp_path / "lane", STATE, ABOUT)
    (tmp_path / "lane").write_bytes((tmp_path / "lane").read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "pomona"):
        assert [load_lane(tmp_path / "lane", ABOUT) for _ in range(2)] == [None, None]
    (record,) = caplog.records
    assert "starts again from the beginning" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_lane_without_digests_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "lane"
    save_lane(path, STATE, ABOUT)
    with safetensors.safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["lane"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    earlier = {key: value for key, value in described.items() if key not in (DIGEST, "tensors")} | {"format": "2"}
    safetensors.torch.save_file(tensors, path, {"lane": json.dumps(earlier)})
    assert same(load_lane(path, ABOUT))
    # One of this version without its digest is not one of that version.
    safetensors.torch.save_file(tensors, path, {"lane": json.dumps(earlier | {"format": "3"})})
    assert load_lane(path, ABOUT) is None
