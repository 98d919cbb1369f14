"""The figures of the throughput benchmark follow from its rounds, in its tables as in its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.throughput import report
from bench.throughput.cases import INFERENCE
from bench.throughput.results import OURS, REFERENCE, Candidate, Loaded, Spread, load

from .throughput_examples import CASE, made_up, results


def test_ratios_are_of_the_same_round() -> None:
    measured = made_up(ours=(200.0, 10.0, 60.0), peer=(100.0, 10.0, 20.0))
    best = measured.best
    assert best is not None
    assert measured.ratio(best) == Spread(median=2.0, low=1.0, high=3.0)
    assert measured.ratio(measured.candidates[2]) is None


def test_shares_of_the_ceilings() -> None:
    measured = made_up()
    assert (measured.compute_bound, measured.bandwidth_bound) == (500.0, 1000.0)
    row = next(line for line in report.markdown(results(measured)).splitlines() if line.startswith(f"| {CASE}"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        str(CASE),
        "channels_last eager",
        "300 (300 to 300)",
        "100 (100 to 100)",
        "3.00 x (3.00 to 3.00)",
        "60.0%",
        "30.0%",
        "3.00 GiB",
    ]


def test_the_table_says_where_the_reference_wins() -> None:
    assert "the reference wins" in report.markdown(results(made_up(ours=(50.0, 60.0))))
    assert "the reference wins" not in report.markdown(results(made_up(ours=(50.0, 110.0))))


def test_every_table_has_as_many_cells_in_each_row() -> None:
    loaded = (Loaded(OURS, (1.0,), (1.0,), 2.0),)
    nothing = replace(made_up(), candidates=(Candidate(OURS, "NCHW", "eager", (), note="out of memory"),))
    tables = report.markdown(results(replace(made_up(), loaded=loaded), nothing)).split("\n\n")
    for table in tables:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({(line.count("|"), len(line)) for line in lines}) <= 1


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=5), st.one_of(st.none(), st.integers(0, 2**40)))
def test_results_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float], peak: int | None
) -> None:
    path = tmp_path_factory.mktemp("results") / "results.json"
    candidates = (
        Candidate(OURS, "NCHW", "eager", tuple(rates), peak),
        Candidate(REFERENCE, "NCHW", "eager", tuple(rates)),
    )
    loaded = (Loaded(OURS, tuple(rates), tuple(rates), 2.0),)
    before = results(replace(made_up(), candidates=candidates, loaded=loaded))
    before.save(path)
    assert load(path) == before


def test_the_file_holds_what_follows_from_the_rounds(tmp_path: Path) -> None:
    results(made_up()).save(tmp_path / "results.json")
    (one,) = json.loads((tmp_path / "results.json").read_text())["measured"]
    assert one["compute_bound"] == 500
    assert [row["fastest"] for row in one["candidates"]] == [False, True, False, False]
    assert one["candidates"][1]["images_per_second"] == {"median": 300, "low": 300, "high": 300}
    assert one["candidates"][1]["ratio_to_reference"]["median"] == 3
    assert one["candidates"][2]["images_per_second"] is None


def test_a_roofline_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert report.draw([made_up(), replace(made_up(), case=replace(CASE, mode=INFERENCE))], tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
    assert not report.draw([], tmp_path / "none.png")
