"""A linear head on frozen features: what a search is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.linear_probe import main

from ..pomona.photos import tiny_photos
from ..toys import small_weights


def test_it_writes_a_row_for_each_backbone_and_resolution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    options = ["--data", tiny_photos(tmp_path / "photos"), "--weights-dir", small_weights(weights)]
    options += ["--backbones", "squeezenet1_1", "--resolutions", "64,96", "--out", tmp_path / "probe.md"]
    options += ["--elsewhere", tmp_path / "photos" / "valid"]
    assert main(["fruit", *map(str, options)]) == 0
    text = (tmp_path / "probe.md").read_text()
    assert capsys.readouterr().out == text
    rows = [line for line in text.splitlines() if line.startswith("| squeezenet1_1")]
    assert [row.split("|")[2].strip() for row in rows] == ["64", "96"]
    # What is scored elsewhere here are the same photos.
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert all(row[2:4] == row[6:8] for row in cells)
    # The classes of these photos are plain colours.
    assert all(float(row.split("|")[3].split()[0]) > 50 for row in rows)


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fruit", "--data", str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
