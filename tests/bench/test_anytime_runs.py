"""Runs of real systems, in processes of their own, on photos that take no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.anytime.command import main
from bench.anytime.peers import local_backbones
from bench.anytime.runs import OURS, PROBE, load_run, run_path
from training.machine import vision

from ..pomona.photos import tiny_photos
from ..toys import small_weights


def test_backbones_are_those_of_the_space_and_of_the_folder(tmp_path: Path) -> None:
    small_weights(tmp_path)
    (tmp_path / "timm_mobilenetv1_100.safetensors").write_bytes(b"weights")
    (tmp_path / "notes.txt").write_text("of somebody else's")
    found = local_backbones("fruit", tmp_path)
    assert found["squeezenet1_1"] == (tmp_path / "squeezenet1_1.safetensors").stat().st_size
    if vision.has_timm():
        assert found["timm:mobilenetv1_100"] == len(b"weights")
    assert "notes" not in found


@pytest.mark.slow
def test_a_search_and_a_probe_from_a_cold_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_photos(tmp_path / "data" / "fruit", train=10)
    weights = tmp_path / "weights"
    weights.mkdir()
    small_weights(weights)
    out = tmp_path / "out"
    options = ["--data", tmp_path / "data", "--weights-dir", weights, "--tasks", "fruit", "--seeds", 0, "--out", out]
    arguments = ["run", *options, "--systems", f"{PROBE},{OURS}", "--seconds", 40]
    assert main([str(argument) for argument in arguments]) == 0
    probe, ours = (load_run(run_path(out, "fruit", system, 0)) for system in (PROBE, OURS))
    for run in (probe, ours):
        assert str(tmp_path) not in run_path(out, *run.key).read_text()
        assert run.failure == ""
        assert run.notes == ()
        assert run.points
        assert all(0 < point.seconds <= 40 for point in run.points)
        assert not run.pending
        best = max(run.points, key=lambda point: point.value)
        assert best.n == 18
        assert best.test is not None
        assert best.test.n == 12
    assert ours.winner is not None
    assert ours.winner.what.startswith("trial ")
    assert ours.winner.test is not None
    if ours.ensemble is not None:
        assert ours.ensemble.test is not None
    assert probe.points[0].what == "squeezenet1_1 at 128"
    assert main(["report", "--out", str(out)]) == 0
    assert "| fruit  | (e) ours  |" in capsys.readouterr().out
