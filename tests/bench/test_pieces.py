from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import pieces
from bench.pieces import WAYS, main


def test_every_way_is_measured_and_compared_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pieces, "BACKBONES", ("squeezenet1_1",))
    monkeypatch.setattr(pieces, "RESOLUTIONS", (32,))
    monkeypatch.setattr(pieces, "IMAGES", 3)
    results = tmp_path / "pieces.json"
    assert main(["--rounds", "2", "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if line.startswith("| squeezenet1_1")]
    assert row.split(";")[1].strip().startswith("1.00")
    figures = json.loads(results.read_text())["figures"]
    assert [each["way"] for each in figures] == list(WAYS.values())
    assert all(len(each["images_per_second"]) == 2 for each in figures)
