"""A saved lane comes back as it was, or not at all and with a note."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import EpochResult, load_lane, save_lane
from training.lanes.lane_state import LaneState
from training.lanes.results import curve_to_json
from training.lanes.state_file import write_state
from training.machine.digest import note, sealed, tensors_digest
from training.machine.files import json_text

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
        and found.predictions is not None
        and found.predictions.tolist() == [1, 0, 2]
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


def save_earlier(path: Path, number: str, **changes: object) -> None:
    """As versions did in which lanes had a format of their own; the first of them had no digests."""
    assert STATE.predictions is not None
    tensors = STATE.tensors | {"answers": STATE.predictions}
    described = {"format": number, "about": ABOUT, "curve": curve_to_json(STATE.curve), "seconds": STATE.seconds}
    if number == "3":
        described = sealed(described | {"tensors": tensors_digest(tensors)})
    safetensors.torch.save_file(tensors, path, {"lane": json_text(described | changes, indent=None)})


@pytest.mark.parametrize("number", ["2", "3"])
def test_lanes_of_earlier_formats_are_read(tmp_path: Path, number: str) -> None:
    path = tmp_path / "lane"
    save_earlier(path, number)
    assert same(load_lane(path, ABOUT))
    assert load_lane(path, ABOUT | {"seed": 4}) is None


@pytest.mark.parametrize(
    ("number", "changes"), [("2", {"format": "3"}), ("3", {"format": "2"}), ("3", {"seconds": 2.0}), ("3", {"x": 1})]
)
def test_lanes_of_earlier_formats_are_checked(tmp_path: Path, number: str, changes: dict[str, object]) -> None:
    save_earlier(tmp_path / "lane", number, **changes)
    assert load_lane(tmp_path / "lane", ABOUT) is None


def test_a_model_that_is_kept_is_no_lane(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_state(tmp_path / "lane", "checkpoint", {}, STATE.tensors)
    with caplog.at_level(logging.WARNING, "pomona"):
        assert load_lane(tmp_path / "lane", ABOUT) is None
    assert "holds a checkpoint, not a lane" in caplog.text


def test_what_does_not_fit_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = {"about": ABOUT, "curve": [{"epoch": 1}], "seconds": 1.0}
    write_state(tmp_path / "lane", "lane", record, STATE.tensors)
    with caplog.at_level(logging.WARNING, "pomona"):
        assert load_lane(tmp_path / "lane", ABOUT) is None
    assert "curve[0].epochs is missing" in caplog.text
