"""A run that has enough ends as one whose trials have all ended; one without a number of trials ends with its space."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Choice
from studies import Study
from studies.driver import run_study
from studies.engines import InlineEngine
from studies.records import run_key
from studies.scheduled import Ask
from studies.scheduler import Scheduler
from studies.whole import Whole

from .made_up import Machine, Search
from .settings import settings_for
from .toy_plans import HEADS, plan, use_toy_backbone

# Four configs.
SMALL_SPACE = HEADS.space.replace(
    augmentation=Choice(0),
    optimizer=Choice("adamw"),
    batch_size=Choice(16, 24),
    learning_rate=Choice(0.01, 0.03),
    weight_decay=Choice(1e-4),
    label_smoothing=Choice(0.0),
    dropout=Choice(0.1),
)
SMALL = HEADS.with_space(SMALL_SPACE)


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_run_that_has_enough_ends_and_can_go_on(url: str, lanes: int) -> None:
    study = Study.create("s", url, settings_for(HEADS, epochs=4), HEADS.recipe)
    outcomes = []
    with study.running():
        for outcome in run_study(
            study, plan(HEADS, lanes, 8), InlineEngine(), lambda _: None, enough=lambda: len(outcomes) >= 1
        ):
            outcomes.append(outcome.number)
    assert 1 <= len(outcomes) < 8
    assert study.ended == len(outcomes)
    # Nothing of groups that have ended stays on the disk.
    open_groups = {f"{record.group:05d}" for record in study.records() if record.state == "running"}
    kept = study.trial_folder(0).parent
    assert {folder.name for folder in kept.iterdir()} <= open_groups if kept.exists() else True

    again = Study.open("s", url)
    with again.running():
        assert list(run_study(again, plan(HEADS, lanes, 8), InlineEngine(), lambda _: None, enough=lambda: True)) == []
        rest = list(run_study(again, plan(HEADS, lanes, 8), InlineEngine(), lambda _: None))
    assert {outcome.number for outcome in rest} | set(outcomes) == set(range(8))


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("sampler", ["auto", "random"])
def test_without_a_number_of_trials_every_config_is_tried_once(url: str, lanes: int, sampler: str) -> None:
    settings = replace(settings_for(SMALL, epochs=4), trials=None, sampler=sampler)
    study = Study.create("s", url, settings, SMALL.recipe)
    endless = replace(plan(SMALL, lanes, 8), trials=None)
    with study.running():
        list(run_study(study, endless, InlineEngine(), lambda _: None))
        tried = Counter(run_key(record.config, record.seed) for record in study.records())
        assert sorted(tried.values()) == [1, 1, 1, 1]
        assert list(run_study(study, endless, InlineEngine(), lambda _: None)) == []
    assert study.ended == 4


@pytest.mark.parametrize("timeout", [3600.0, None])
def test_a_search_on_rungs_ends_with_its_space(url: str, timeout: float | None) -> None:
    """Without asking for the same again until its time is up."""
    settings = replace(settings_for(SMALL, epochs=4), trials=None, strategy="rungs", timeout=timeout)
    study = Study.create("s", url, settings, SMALL.recipe)
    endless = replace(plan(SMALL, 3, 8), trials=None, timeout=timeout)
    asked = 0

    def counted(_progress: object) -> None:
        nonlocal asked
        asked += 1
        assert asked < 5000

    with study.running():
        list(run_study(study, endless, InlineEngine(), counted))
        tried = Counter(run_key(record.config, record.seed) for record in study.records())
        assert sorted(tried.values()) == [1] * 4
        assert list(run_study(study, endless, InlineEngine(), counted)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_so_does_one_of_whole_networks(workers: int) -> None:
    costs = Machine()
    config = {"backbone": "mobilenet_v2", "resolution": 96, "unfrozen_stages": 0}
    whole = Whole(lambda _: config, costs, seed=0, recipe=config)
    scheduler = Scheduler(epochs=2, lanes=1, folder=Path("none"), strategy=whole)
    asked = 0
    while (question := scheduler.next(asked % workers)) is not None:
        asked += 1
        assert isinstance(question, Ask)
        scheduler.take(None)
        assert asked < 100


def test_what_waits_for_others_is_asked_again() -> None:
    """A trial that another driver lost goes first, and takes nothing from what was chosen."""
    search = Search(Machine(), 600.0)
    scheduler = Scheduler(epochs=2, lanes=4, folder=Path("none"), strategy=search.rungs)
    first = scheduler.next(0, left=600.0)
    scheduler.take(None, waiting=True)
    assert scheduler.next(0, left=600.0, waiting=True) == Ask(waiting=True)
    scheduler.take(None)
    # It ended at once, or another driver has it: nothing is drawn in its place that nobody chose.
    following = scheduler.next(0, left=600.0)
    assert isinstance(following, Ask)
    assert following.arm is not None
    scheduler.take(None, waiting=True)
    # Nothing begins in the time that is kept for the best, whoever asked for it.
    assert scheduler.next(0, left=-1.0, waiting=True) is None
    assert isinstance(first, Ask)
    assert first.arm is not None


def test_a_recipe_that_can_t_be_tried_is_not_asked_for_again() -> None:
    search = Search(Machine(), 6000.0)
    for trials in (None, 50):
        search.rungs.recipe_problem = ""
        while (arm := search.rungs.next(search.left)) is not None and not arm.recipe:
            search.step()
        assert arm is not None
        search.rungs.began(arm.first)
        search.rungs.done(arm.first)
        search.rungs.in_vain(arm, trials)
        again = search.rungs.next(search.left)
        assert again is None or not again.recipe
        assert "memory" in search.rungs.recipe_problem
