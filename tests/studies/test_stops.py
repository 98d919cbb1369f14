"""A search that is stopped, wherever it works and however, has saved everything and goes on to the same end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from studies import Interrupted, Progress, Study, driver
from studies.engines import worker
from training import SaveClock

from .settings import settings_for
from .test_kills import everything
from .toy_plans import EPOCHS, plan, run_inline, use_toy_backbone
from .toy_plans import STAGES as TASK

LANES, TRIALS = 2, 4
HOW = [Interrupted("by the user"), KeyboardInterrupt()]


@pytest.fixture(autouse=True)
def _checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is one, and nothing is saved but by a stop."""
    use_toy_backbone(monkeypatch)
    monkeypatch.setattr(worker, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(SaveClock, "due", lambda _clock: False)


@pytest.fixture
def fresh_prefixes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    return lambda name: monkeypatch.setenv("POMONA_CACHE", str(tmp_path / f"cache-{name}"))


def new(url: Path) -> Study:
    return Study.create("s", str(url), settings_for(TASK, epochs=EPOCHS, pruner="median"), TASK.recipe)


def run(url: Path, watch: Callable[[Progress], None]) -> None:
    for _ in run_inline(Study.open("s", str(url), to_run=True), plan(TASK, LANES, TRIALS), watch):
        pass


@pytest.fixture
def expected(tmp_path: Path, fresh_prefixes: Callable[[str], None]) -> dict[tuple[int, str], object]:
    fresh_prefixes("whole")
    study = new(tmp_path / "whole.log")
    run(tmp_path / "whole.log", lambda _progress: None)
    fresh_prefixes("cut")
    return everything(study)


@pytest.mark.parametrize("how", HOW, ids=lambda how: type(how).__name__)
def test_stopped_at_any_check_it_goes_on_to_the_same_end(
    tmp_path: Path, expected: dict[tuple[int, str], object], how: BaseException
) -> None:
    url = tmp_path / "cut.log"
    study = new(url)
    stops = checks = 0

    def watch(_progress: Progress) -> None:
        nonlocal checks
        checks += 1
        # A little more than the longest epoch takes, and another place each time.
        if checks == 14 + stops % 5:
            raise how

    while True:
        checks = 0
        try:
            run(url, watch)
            break
        except type(how):
            stops += 1
            assert stops < 60
    assert stops > 5
    assert everything(study) == expected


def test_whoever_leaves_a_run_finds_everything_saved(tmp_path: Path, expected: dict[tuple[int, str], object]) -> None:
    """As when the terminal is gone and what is printed raises."""
    url = tmp_path / "cut.log"
    study = new(url)
    opened = Study.open("s", str(url), to_run=True)
    outcomes = run_inline(opened, plan(TASK, LANES, TRIALS), lambda _progress: None)
    with closing(cast(SimpleNamespace, outcomes)):
        next(outcomes)
    run(url, lambda _progress: None)
    assert everything(study) == expected


def test_a_deadline_is_kept_within_a_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_prefixes: Callable[[str], None]
) -> None:
    fresh_prefixes("deadline")
    ticks = itertools.count()
    for module in (driver, worker):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    new(tmp_path / "journal.log")
    study = Study.open("s", str(tmp_path / "journal.log"), to_run=True)
    seen: list[Progress] = []
    with pytest.raises(Interrupted, match="time is up"):
        list(run_inline(study, replace(plan(TASK, LANES, TRIALS), timeout=8.0), seen.append))
    assert len(seen) < 8
    assert all(progress.done == 0 for progress in seen)  # no batch was trained yet
