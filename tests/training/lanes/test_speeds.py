"""Speeds of stages: what is measured, scaled, corrected and kept."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.toys import RESOLUTION, toy_backbone
from training import Numerics
from training.lanes.speeds import SpeedFile, Speeds, measure_speeds

CPU = torch.device("cpu")


def test_every_stage_is_measured_and_the_backbone_stays_as_it_is() -> None:
    backbone = toy_backbone()
    before = {name: tensor.clone() for stage in backbone.stages for name, tensor in stage.state_dict().items()}
    found = measure_speeds(backbone, torch.rand(1, 3, RESOLUTION, RESOLUTION), Numerics(), CPU)
    assert len(found.forward) == len(found.train) == len(found.row_bytes) == len(backbone.stages)
    assert min(found.forward) > 0
    assert found.resolution == RESOLUTION
    assert found.row_bytes[-1] == 4 * backbone.widths[-1]
    after = {name: tensor for stage in backbone.stages for name, tensor in stage.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name in before)


@given(st.sampled_from([32, 64, 128, 224]), st.sampled_from([32, 64, 128, 224]))
def test_larger_images_take_longer_and_equal_ones_as_long(first: int, second: int) -> None:
    speeds = Speeds(first, (1.0, 2.0), (3.0, 4.0), (100, 8))
    scaled = speeds.at(second)
    assert (sum(scaled.forward) > 3.0) == (second > first)
    assert scaled.row_bytes[-1] == 8
    if first == second:
        assert scaled == speeds


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_first_run_sets_a_correction_and_later_ones_move_it(first: float, second: float) -> None:
    speeds = Speeds(0, (1.0,), (1.0,), (4,)).corrected("prefix", 1.0, first)
    assert speeds.factors["prefix"] == pytest.approx(first)
    moved = speeds.corrected("prefix", 1.0, second).factors["prefix"] / first
    assert min(second, 1.0) - 1e-9 <= moved <= max(second, 1.0) + 1e-9
    assert speeds.corrected("prefix", 0.0, 1.0) is speeds


def test_what_is_kept_is_there_for_another_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path))
    speeds = Speeds(96, (1.0,), (2.0,), (4,), {"prefix": 1.5})
    file = SpeedFile(CPU, Numerics())
    file.put("toy", speeds)
    file.save()
    assert SpeedFile(CPU, Numerics()).get("toy") == speeds
    assert SpeedFile(CPU, Numerics(channels_last=True)).get("toy") is None
    (tmp_path / "speeds.json").write_text("{}")
    assert SpeedFile(CPU, Numerics()).get("toy") is None


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_how_many_stages_train_has_a_factor_of_its_own_and_its_neighbours_say_half(shallow: float, deep: float) -> None:
    speeds = Speeds(0, (1.0,), (1.0,), (4,))
    assert speeds.factor("stages 1") == 1.0
    speeds = speeds.corrected("stages 1", 1.0, shallow)
    assert speeds.factor("stages 5") == pytest.approx(math.sqrt(shallow))
    # What is predicted is with the factor, a neighbour's too.
    speeds = speeds.corrected("stages 5", 7.0 * speeds.factor("stages 5"), 7.0 * deep)
    assert speeds.factor("stages 5") == pytest.approx(deep)
    assert speeds.factor("stages 1") == pytest.approx(shallow)
    assert speeds.factor("stages 4") == pytest.approx(math.sqrt(deep))
    assert speeds.factor("heads") == 1.0
