import json
from pathlib import Path

import pytest

from bench.waiting import BUSY, SPINS, WORK, main


@pytest.mark.slow
def test_a_smoke_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "1", "--seconds", "0.01", "--results", str(tmp_path / "w.json")]) == 0
    assert "bench.waiting" in capsys.readouterr().out
    figures = json.loads((tmp_path / "w.json").read_text())["figures"]
    expected = [(work, spin, busy) for busy in BUSY for spin in SPINS for work in WORK]
    assert [(row["work"], row["spin"], row["busy"]) for row in figures] == expected
    assert all(value > 0 for row in figures for value in row["images_per_second"])
