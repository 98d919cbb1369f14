from __future__ import annotations

from pathlib import Path

import pytest

from bench.first_pass import main


def test_every_case_has_its_first_pass_and_those_after_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--precision", "fp32", "--backbones", "squeezenet1_1", "--resolutions", "32,48"]
    assert main([*options, "--batches", "1", "--out", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert capsys.readouterr().out == text
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in text.splitlines()
        if row.startswith("| squeezenet1_1")
    ]
    kinds = [("1", "frozen"), ("2", "frozen, long run"), ("1", "trained")]
    assert [(side, *kind) for side in ("32", "48") for kind in kinds] == [tuple(row[1:4]) for row in rows]
    assert all(float(first) > 0 and float(then) > 0 for *_, first, then in rows)


def test_an_unknown_device_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "tpu"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
