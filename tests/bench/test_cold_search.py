"""Default searches from a cold start: what is kept of one, and the page of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import cold_search
from bench.anytime.runs import Point
from bench.cold_search import Search, Trained, load, main, page
from studies.cost_report import Accuracy

from ..pomona.photos import tiny_photos
from ..toys import small_weights

SEARCH = Search(
    task="fruit",
    seconds=20.0,
    seed=0,
    command="python -m bench.cold_search fruit",
    environment={"device": "a CPU", "threads": 2, "python": "3.11", "versions": {"torch": "2.13"}, "commit": "abc"},
    data="fruit 0123",
    numerics="fp32",
    ended=23.0,
    trials=2,
    points=(Point(9.4, 0.98, 334, "trial 0"), Point(16.0, 0.99, 334, "trial 1")),
    winner="{}",
    confirmed=0.985,
    confirmed_seeds=3,
    costs=Accuracy(8, 16, 0.24, 0.97),
    said=(),
    trained=(
        Trained("winner", 0, 9.0, 0.99, 0.64, (0.58, 0.70), 0.75, (0.66, 0.83)),
        Trained("winner", 1, 9.0, 1.0, 0.66, (0.6, 0.72), 0.77, (0.68, 0.85)),
    ),
)


def cells(text: str, begins: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith(begins)]


def test_the_page_says_what_there_was_at_which_time_and_what_it_is_worth_elsewhere() -> None:
    longer = replace(SEARCH, seconds=60.0, seed=1, points=(), confirmed=None, costs=None, trained=())
    text = page([SEARCH, longer])
    first, second = cells(text, "| fruit, 20 s")[0], cells(text, "| fruit, 60 s")[0]
    assert first == ["fruit, 20 s, seed 0", "2", "23", "9.4", "98", "98", "99", "", "", "98.50 (3)"]
    # Nothing is said of what came to nothing, nor of times after the end.
    assert second[3:] == [""] * 7
    assert cells(text, "| fruit, 20 s")[1] == ["fruit, 20 s, seed 0", "8", "24%", "0.97"]
    mean = cells(text, "| fruit, 20 s")[-1]
    assert mean == ["fruit, 20 s, seed 0", "winner", "mean", "99.5", "65", "", "76", ""]


def test_a_search_that_fails_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fruit", "--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "runs" / "fruit-60s-0.json"
    file.parent.mkdir()
    file.write_text("{}")
    assert main(["fruit", "--data", "photos", "--out", str(tmp_path)]) == 1
    assert "holds no search" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_is_kept_with_what_it_finds_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    photos = tiny_photos(tmp_path / "photos")
    options = ["fruit", "--data", photos, "--weights-dir", small_weights(weights), "--device", "cpu"]
    options += ["--seconds", "15", "--elsewhere", Path(photos) / "valid", "--out", tmp_path / "out"]
    assert main([*map(str, options)]) == 0
    kept = load(tmp_path / "out" / "runs" / "fruit-15s-0.json")
    assert kept.trials == len(kept.points) > 0
    assert "winner" in {one.what for one in kept.trained}
    assert capsys.readouterr().out == (tmp_path / "out" / "README.md").read_text()
    monkeypatch.setattr(cold_search, "searched", None)
    assert main([*map(str, options)]) == 0
