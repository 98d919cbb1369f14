"""Results that come back as they were, figures that are what they say, and the tables that people see."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.search_speed import figures, report
from bench.search_speed.command import continued
from bench.search_speed.progress import Progress
from bench.search_speed.results import Block, Search, Trained, load, save
from search_spaces import FRUIT, InputError

from .search_speed_examples import SETTINGS, block, empty, measured, planned_for

# --- the file


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = measured()
    results.searches.append(Search("ours", 1, None, 3))
    save(tmp_path / "results.json", results, figures.derived(results))
    assert load(tmp_path / "results.json") == results
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="no results"):
        load(tmp_path / "other.json")


def test_methods_may_be_added_to_earlier_results() -> None:
    now = empty(4)
    now.settings = SETTINGS | {"methods": ["ours", "ray"]}
    whole = continued(measured(), now)
    assert whole.settings["methods"] == ["notebook", "expert", "ours", "ray"]
    assert whole.methods == ["notebook", "expert", "ours"]
    assert whole.blocks == measured().blocks


@pytest.mark.parametrize("part", ["epochs", "configs", "target"])
def test_results_of_something_else_are_not_continued(part: str) -> None:
    earlier, now = measured(), empty(4)
    earlier.searches = [Search("ours", 0, 1.0, 1)]
    if part == "epochs":
        now.settings["epochs"] = 3
    elif part == "configs":
        now.configs = now.configs[::-1]
    else:
        now.about["target"] = 0.5
    with pytest.raises(InputError, match="choose another file"):
        continued(earlier, now)


# --- figures


def test_the_start_is_shared_by_the_trials() -> None:
    results = measured()
    assert figures.seconds_per_trial(results.of("ours"), 4) == 2
    assert figures.seconds_per_trial(results.of("ours"), 400) == 1.01
    assert figures.running_seconds(results.of("ours")) == [(1, 5), (2, 3), (3, pytest.approx(7 / 3)), (4, 2)]


def test_a_run_that_was_taken_up_again_counts_one_start() -> None:
    again = [block("ours", 0, [1, 1], startup=4), block("ours", 1, [1, 1], startup=6)]
    assert figures.seconds_per_trial(again, 4) == 1 + 5 / 4


def test_the_rows_add_up_to_what_the_ratios_divide() -> None:
    results = measured()
    derived = figures.derived(results)
    assert [(row["method"], row["config"]) for row in derived["rows"]][:4] == [
        ("notebook", 0),
        ("notebook", 1),
        ("expert", 0),
        ("expert", 1),
    ]
    ours = [row["seconds"] for row in derived["rows"] if row["method"] == "ours"]
    assert ours == [2.0] * 4
    assert {one["against"]: one["ratio"] for one in derived["ratios"]} == {"notebook": 10, "expert": 5.25}
    assert {one["against"]: one["trials"] for one in derived["ratios"]} == {"notebook": 4, "expert": 4}


@given(
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
)
def test_an_interval_holds_its_median_and_scales_with_the_peer(ours: list[float], theirs: list[float]) -> None:
    mine = [block("ours", number, [seconds]) for number, seconds in enumerate(ours)]
    peer = [block("expert", number, [seconds]) for number, seconds in enumerate(theirs)]
    slower = [block("expert", number, [2 * seconds]) for number, seconds in enumerate(theirs)]
    one, two = figures.ratio(mine, peer, 10), figures.ratio(mine, slower, 10)
    assert one.low <= one.median <= one.high
    assert two.ratio == pytest.approx(2 * one.ratio)
    assert two.median == pytest.approx(2 * one.median)


def test_a_difference_is_paired_by_config() -> None:
    results = measured()
    found = {one.against: one for one in figures.differences(results)}
    assert found["expert"].n == 4
    assert found["expert"].mean == pytest.approx(0)
    assert found["notebook"].n == 2
    assert (found["notebook"].mean, found["notebook"].low) == (pytest.approx(20), pytest.approx(20))
    low, high = found["expert"].low, found["expert"].high
    assert low is not None
    assert high is not None
    # Four differences of 5 points either way: t(0.975, 3) = 3.182, s = 5.774, over the root of 4.
    assert (low, high) == (pytest.approx(-9.19, abs=0.01), pytest.approx(9.19, abs=0.01))


def test_a_config_that_could_not_be_trained_has_no_accuracy() -> None:
    mine = [Block("ours", 0, 0.0, (Trained(0, 1.0, None), Trained(1, 1.0, 0.5)))]
    peer = [Block("expert", 0, 0.0, (Trained(0, 1.0, 0.5), Trained(1, 1.0, 0.25)))]
    found = figures.difference(mine, peer)
    assert found == figures.Difference("expert", 1, 25.0, None, None)
    assert figures.difference(mine[:0], peer) is None


# --- what people see


def test_the_tables_and_the_figure(tmp_path: Path) -> None:
    results = measured()
    results.growth = [block("ours", 0, [0.5] * 8, startup=4)]
    results.searches = [
        Search("ours", 0, 5.0, 1),
        Search("ours", 1, 7.0, 2),
        Search("ray", 0, None, 3),
    ]
    text = report.markdown(results, FRUIT)
    assert "| (b) tuned by an expert, nothing shared" in text
    assert "5.25 x" in text
    assert "6.0 (5.0 to 7.0)" in text
    assert "0 of 1" in text
    assert "the faster one" not in text
    report.draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_where_a_peer_wins() -> None:
    results = empty(4)
    results.blocks = [block("expert", 0, [1, 1, 1, 1]), block("ours", 0, [2, 2, 2, 2])]
    assert "0.5 x: it is the faster one" in report.markdown(results, FRUIT)


def test_the_time_left_counts_every_method_at_its_own_speed() -> None:
    results = empty()
    with Progress(planned_for("expert", "ours"), results, (10,)) as progress:
        assert progress.seconds_left() is None
        progress.ended("expert", 3.0)
        # How fast ours is, is not known yet.
        assert progress.seconds_left() is None
        progress.ended("ours", 1.0)
        assert progress.seconds_left() == 5 * 3 + 15 * 1
