"""`pomona worker`: a second process takes trials of a study in a database, if it is fit for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies import Study
from studies.creation import keep_settings
from studies.done import goal_reached

from .conftest import Run

URL = "studies.db"


@pytest.fixture
def study(run: Run) -> str:
    """One of two trials that ended."""
    code, _, err = run("search", "bonus", "--study", "s", "--storage", URL, "--trials", 2, "--epochs", 1)
    assert code == 0, err
    return "s"


def change(**settings: Any) -> None:
    study = Study.open("s", URL, to_run=True)
    keep_settings(study._study, replace(study.settings, **settings), study.settings)


def test_a_worker_trains_what_is_left_and_says_where_to_look(run: Run, study: str) -> None:
    change(trials=5)
    code, _, err = run("worker", study, "--storage", URL)
    assert code == 0, err
    assert "joined in studies.db, 2 of 5 trials are done" in err
    assert "study s: 5 trials are done; see pomona leaderboard s --storage studies.db" in err
    records = Study.open("s", URL).records()
    assert [record.state for record in records] == ["complete"] * 5
    # What belongs to the search is as it was.
    assert Study.open("s", URL).settings.later_commands == ()
    code, _, err = run("worker", study, "--storage", URL)
    assert code == 0, err
    assert "5 of 5 trials are done" in err


def test_where_nothing_is_left_to_do_a_worker_says_why(run: Run, study: str) -> None:
    change(trials=5, stop_at=-1e9)
    there = Study.open("s", URL)
    assert (reached := goal_reached(there.settings, there.best()))
    code, _, err = run("worker", study, "--storage", URL)
    assert code == 0, err
    assert f"{reached}\n" in err
    assert "study s: 2 trials are done" in err


def test_a_journal_has_one_driver(run: Run) -> None:
    assert run("search", "bonus", "--study", "s", "--storage", "j.log", "--trials", 1, "--epochs", 1)[0] == 0
    code, _, err = run("worker", "s", "--storage", "j.log")
    assert code == 1
    assert err == (
        "error: j.log has one driver at a time: several need a database, --storage postgresql://... or sqlite:///FILE\n"
    )


def test_a_machine_that_would_come_to_other_values_is_refused(run: Run, study: str) -> None:
    versions = Study.open("s", URL).settings.environment["versions"]
    change(environment=Study.open("s", URL).settings.environment | {"versions": versions | {"torch": "1.2.3+cu9"}})
    code, _, err = run("worker", study, "--storage", URL)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: study 's' was begun with torch 1.2.3+cu9 (here ")
    change(environment=Study.open("s", URL).settings.environment | {"versions": versions, "device": "A GPU"})
    code, _, err = run("worker", study, "--storage", URL)
    assert code == 1
    assert "was begun on cuda, and this is cpu" in err


def test_other_data_is_refused(run: Run, study: str) -> None:
    rows = [f"{number},{number % 7},{number % 5},{3 * number}" for number in range(60)]
    header = "performance,years_of_experience,projects_completed,bonus"
    Path("other.csv").write_text("\n".join([header, *rows]))
    code, _, err = run("worker", study, "--storage", URL, "--data", "other.csv")
    assert code == 1
    assert "was made with another data (fingerprint)" in err


def test_without_a_search_a_time_is_not_endless(run: Run, study: str) -> None:
    change(trials=None, timeout=60.0)
    code, _, err = run("worker", study, "--storage", URL)
    assert code == 1
    assert "is as long as its search runs, and none does: add --timeout" in err
    code, _, err = run("worker", study, "--storage", URL, "--timeout", "1s")
    assert code == 0, err
    assert "joined in studies.db, 2 trials are done" in err
