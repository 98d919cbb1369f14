"""`--json` prints in every benchmark, `--results FILE` keeps; what earlier versions took still works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.answers import with_results
from bench.search_speed.command import main
from bench.search_speed.results import save

from .search_speed_examples import empty


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--json", "a.json", "--out", "x"], ["--results", "a.json", "--out", "x"]),
        (["--json=a.json"], ["--results=a.json"]),
        (["--resume", "--json", "a.json"], ["--resume", "--results", "a.json"]),
    ],
)
def test_the_form_of_earlier_versions_is_understood(
    given: list[str], meant: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_results(given) == meant
    assert capsys.readouterr().err == "--json FILE is called --results FILE now\n"


@pytest.mark.parametrize("given", [[], ["--json"], ["--json", "--resume"], ["--results", "a.json", "--json"]])
def test_todays_form_stays(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert with_results(given) == given
    assert capsys.readouterr().err == ""


def test_json_prints_what_the_file_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kept.json"
    save(file, empty(), {})
    assert main(["--results", str(file), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads(file.read_text())
    assert kept["schema_version"] == 1
    assert {name: printed[name] for name in kept} == kept
