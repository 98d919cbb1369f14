"""The README's figures are those of the recorded run."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from bench.search_speed import figures
from bench.search_speed.methods import OURS
from bench.search_speed.results import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
RESULTS = load(ROOT / "results" / "search_speed" / "search_speed.json")


@pytest.mark.parametrize(
    ("method", "row", "form"),
    [
        ("notebook", "a notebook's loop", "{:.1f}"),
        ("expert", "a loop tuned by an expert, nothing shared", "{:.1f}"),
        ("ray", "Ray Tune", "{:.1f}"),
        ("ours-no-lanes", "pomona without lanes", "{:.2f}"),
    ],
)
def test_times_as_fast(method: str, row: str, form: str) -> None:
    (short,) = (one for one in figures.ratios(RESULTS) if one.against == method)
    (long,) = (one for one in figures.growth_ratios(RESULTS) if one.against == method and one.trials == 96)
    (line,) = (line for line in README.splitlines() if line.startswith(f"| {row} |"))
    found = [cell.strip().removesuffix(" times as fast") for cell in line.strip("|").split("|")[1:]]
    assert found == [form.format(short.ratio), form.format(long.ratio)]


@pytest.mark.parametrize(
    ("method", "sentence"), [("optuna", "times less time than Optuna"), ("ray", "times less than Ray")]
)
def test_time_to_target(method: str, sentence: str) -> None:
    seconds = {
        name: statistics.median(one.seconds for one in RESULTS.searches if one.method == name and one.seconds)
        for name in (method, OURS)
    }
    assert f"{seconds[method] / seconds[OURS]:.1f} {sentence}" in README


def test_accuracy_against_the_expert() -> None:
    (difference,) = (one for one in figures.differences(RESULTS) if one.against == "expert")
    assert f"{difference.mean:+.2f} points on average ({difference.low:+.2f} to {difference.high:+.2f})" in README
