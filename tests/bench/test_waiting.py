import json
from pathlib import Path

import pytest

from bench.waiting import main


def test_a_smoke_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "1", "--seconds", "0.01", "--json", str(tmp_path / "w.json")]) == 0
    assert "PASSIVE over ACTIVE" in capsys.readouterr().out
    figures = json.loads((tmp_path / "w.json").read_text())["images_per_second"]
    assert set(figures) == {"ACTIVE", "PASSIVE", "ACTIVE, busy", "PASSIVE, busy"}
    assert all(value > 0 for values in figures.values() for value in values)
