"""A smaller one of what `python -m tests.chaos` does: workers and drivers are killed, and nothing is lost or doubled.

Which trials are hit, and when, follows from a seed and from how fast the machine is: what is asserted has to be true of
any kill.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .place import Place
from .report import Report
from .variants import Options, clock_jumps, full_disk, kills

pytestmark = pytest.mark.slow

OPTIONS = Options(trials=30, workers=2, kills=6, driver_kills=2)
FEW = Options(trials=12, workers=2, kills=2, driver_kills=1, compare=False)


def ended(report: Report) -> int:
    return sum(report.states.values()) + sum(report.given_up.values())


def test_nothing_is_lost_where_workers_and_drivers_are_killed(tmp_path: Path) -> None:
    report = kills(tmp_path / "study", OPTIONS)
    assert report.problems == ()
    assert ended(report) == report.compared == OPTIONS.trials
    assert report.worker_kills
    assert report.driver_kills


def test_a_clock_that_is_set_back_and_forth_changes_nothing(tmp_path: Path) -> None:
    report = clock_jumps(tmp_path / "study", FEW)
    assert report.problems == ()
    assert ended(report) == FEW.trials
    # It did jump, as Optuna kept it: trials that ended before they began, or hours later.
    times = [trial.datetime_complete for trial in Place(tmp_path / "study").trials() if trial.datetime_complete]
    assert times != sorted(times)


def test_on_a_full_disk_a_study_stops_and_goes_on_later(tmp_path: Path) -> None:
    report = full_disk(tmp_path / "study", FEW)
    assert report.problems == ()
    assert ended(report) == FEW.trials
    first, second = report.refusals
    assert "cannot write the study" in first or "no room left" in first  # an output may come before the next record
    assert "no room left" in second
