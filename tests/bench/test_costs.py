"""Predictions against truth, from recorded trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.costs import FIGURE, PAGE, from_here, main
from studies import Study

from ..studies.settings import settings_for
from ..studies.small_studies import result
from ..toys import TOY


def a_study(url: str) -> Study:
    study = Study.create("s", url, replace(settings_for(TOY), strategy="rungs"), TOY.recipe)
    for number in range(3):
        study.ask(TOY.space, 5)
        study.recording.finish(
            number, replace(result(), seconds=2.0), {} if number == 2 else {"predicted_seconds": 2.5}
        )
    return study


def test_commands_are_shown_as_they_would_be_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    command = f"pomona search fruit --data {tmp_path}/photos --storage {tmp_path}/here/j.log --timeout 60s"
    assert from_here(command) == "pomona search fruit --data ../photos --storage j.log --timeout 60s"


def test_a_page_and_a_figure_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = str(tmp_path / "j.log")
    a_study(storage)
    out = tmp_path / "costs"
    assert main(["s", "--storage", storage, "--out", str(out)]) == 0
    page = (out / PAGE).read_text()
    assert page == capsys.readouterr().out
    assert "| all " in page
    assert "25 %" in page
    assert (out / FIGURE).stat().st_size > 1000
    assert main(["none", "--storage", storage, "--out", str(tmp_path / "no")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "no").exists()
