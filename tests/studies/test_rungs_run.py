"""Searches on rungs, with the driver, a storage and real training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from search_spaces import Choice, Float
from studies import Interrupted, Study, leaderboard_rows
from studies.driver import run_study
from studies.engines import InlineEngine
from studies.plan import Outcome, Plan, Progress, duration_text
from studies.records import TrialRecord
from studies.rungs import Rungs
from studies.search_run import Search
from studies.status import status_of
from studies.strategies import strategy_of
from training import Data

from ..toys import TOY, ToyData
from .settings import settings_for
from .toy_plans import EPOCHS, plan, use_toy_backbone

# With rungs above the first: views, and one or two stages.
CLIMBS = TOY.with_space(
    TOY.space.replace(
        batch_size=Choice(16),
        augmentation=Choice(0, 2),
        learning_rate=Float(1e-3, 1e-1, log=True),
        unfrozen_stages=Choice(0, 1, 2),
        fine_tune_share=Choice(0.5),
    )
)


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    use_toy_backbone(monkeypatch)


def create(url: str) -> Study:
    settings = replace(settings_for(CLIMBS, epochs=EPOCHS, pruner="hyperband"), strategy="rungs", lanes=4)
    return Study.create("s", url, settings, CLIMBS.recipe)


def a_plan(trials: int) -> Plan:
    return replace(plan(CLIMBS, 4, trials), data=cast(Data, ToyData()), lanes=4)


def run(study: Study, trials: int) -> list[TrialRecord]:
    with study.running():
        list(run_study(study, a_plan(trials), InlineEngine(), lambda _: None))
    return study.records()


def test_heads_first_then_promoted_trials_that_know_their_parents(url: str) -> None:
    study = create(url)
    records = run(study, 24)
    assert len(records) == 24
    assert [record.rung for record in records[:4]] == [0] * 4
    assert {record.state for record in records} <= {"complete", "pruned", "infeasible"}
    # Given up only once stages have trained.
    assert all(record.epochs > EPOCHS * (1 - 0.5) for record in records if record.state == "pruned")
    by_number = {record.number: record for record in records}
    promoted = [record for record in records if record.promoted_from is not None]
    assert promoted
    for record in promoted:
        parent = by_number[cast(int, record.promoted_from)]
        assert parent.number < record.number
        assert cast(int, parent.rung) <= cast(int, record.rung)
        shared = ("learning_rate", "optimizer", "head_width", "dropout", "backbone")
        assert [parent.config[name] for name in shared] == [record.config[name] for name in shared]
    # Without a limit of time the baseline is always affordable, and once.
    recipes = [record for record in records if record.note == "recipe"]
    assert [record.config for record in recipes] == [CLIMBS.recipe]
    assert study.recipe_note == ""


def test_a_group_that_goes_on_after_a_stop_is_scored_as_it_would_have_been(url: str) -> None:
    study = create(url)

    def watch(progress: Progress) -> None:
        if study.ended >= 5 and progress.running and study.records()[-1].rung == 0:
            raise Interrupted("asked to")

    with study.running(), pytest.raises(Interrupted):
        list(run_study(study, a_plan(64), InlineEngine(), watch))
    left = [record.number for record in study.records() if record.state == "interrupted"]
    assert left
    records = run(Study.open("s", url), 64)
    assert any(records[number].cv_value is not None for number in left)


def test_configs_that_a_search_has_had_are_not_enqueued_again(url: str) -> None:
    study = create(url)
    records = run(study, 12)
    assert study.enqueue([(record.config, "again") for record in records]) == 0


def test_what_groups_took_is_predicted_and_kept(url: str) -> None:
    study = create(url)
    records = run(study, 12)
    assert all(record.predicted_seconds for record in records)
    told = status_of(study)
    assert told["cost_predictions"]["trials"] == 12
    rows = leaderboard_rows(records)
    assert all({"predicted_seconds", "rung", "promoted_from"} <= row.keys() for row in rows)


def test_heads_on_plain_features_are_cross_validated_and_stages_scored_on_changed_photos(url: str) -> None:
    records = run(create(url), 64)
    assert any(record.cv_value is not None for record in records if record.rung == 0)
    assert all(record.cv_value is None for record in records if record.rung)


def test_a_run_that_is_stopped_goes_on_and_has_each_trial_once(url: str) -> None:
    study = create(url)

    def watch(progress: Progress) -> None:
        if study.ended >= 6:
            raise Interrupted("asked to")

    with study.running(), pytest.raises(Interrupted):
        list(run_study(study, a_plan(20), InlineEngine(), watch))
    before = {record.number: record for record in study.records() if record.state != "interrupted"}
    assert 6 <= len(before) < 20
    again = Study.open("s", url)
    records = run(again, 20)
    assert [record.number for record in records] == list(range(20))
    assert {record.number: record.value for record in records if record.number in before} == {
        number: record.value for number, record in before.items()
    }
    assert len({str((record.config, record.seed)) for record in records}) == 20


def test_the_recipe_that_does_not_fit_is_said_not_run(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from studies import rungs

    study = create(url)
    monkeypatch.setattr(rungs, "SHARE", -1.0)
    records = run(study, 8)
    assert all(record.note != "recipe" for record in records)
    assert study.recipe_note.startswith("recipe not run: about ")
    assert status_of(study)["recipe"] == study.recipe_note


def test_a_trial_that_somebody_enqueued_goes_first(url: str) -> None:
    study = create(url)
    mine = CLIMBS.recipe | {"learning_rate": 0.0123}
    study.enqueue([(mine, "mine")])
    records = run(study, 6)
    assert (records[0].config, records[0].note) == (mine, "mine")
    assert len(records) == 6


def test_a_search_by_time_ends_with_its_best_trials_on_fresh_seeds(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = create(url)
    lines: list[str] = []
    search = Search(study, replace(a_plan(12), trials=None, timeout=3600.0), "inline", notify=lines.append)
    # The search itself ends after its first groups, with all of its time left.
    monkeypatch.setattr(Rungs, "_candidates", lambda *_: [])
    outcomes = list(search.run(lambda _: None))
    records = study.records()
    searched = [record for record in records if record.confirms is None]
    again = [record for record in records if record.confirms is not None]
    assert len(outcomes) == len(records)
    assert {record.seed for record in again}.isdisjoint({record.seed for record in searched})
    assert len({record.seed for record in again}) == 5
    (line,) = lines
    assert line.startswith("confirming the ")
    assert line.endswith(f"on 5 fresh seeds: {len(again)} runs")
    confirmed = study.confirmed()
    assert {one.number for one in confirmed} == {record.confirms for record in again}
    assert all(one.seeds == 5 for one in confirmed)
    best = study.best()
    assert best is not None
    assert best.number in {one.number for one in confirmed}
    assert status_of(study)["ended"] == len(searched)
    # All of it is there: nothing is trained again. What is said goes by how much of the time was used.
    assert search.plan.timeout is not None
    assert search.why_ended(0.97 * search.plan.timeout) == ""
    early = search.why_ended(search.plan.timeout / 2)
    assert early == f"ended {duration_text(round(search.plan.timeout / 2))} early: nothing untried fits into that"
    assert list(search.run(lambda _: None)) == []


def test_what_the_confirmed_trials_leave_is_searched_and_confirmed_in_turn(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = create(url)
    rounds: list[tuple[float, bool]] = []

    def counted(study: Study, plan: Plan, *others: object, **further: object) -> Iterator[Outcome]:
        reserve = further.get("reserve", lambda: 0.0)
        assert callable(reserve)
        rounds.append((reserve(), study.is_confirming))
        # Six groups of the search in all; then nothing is left to try.
        if study.is_confirming or len(rounds) < 6:
            plan = replace(plan, trials=None if study.is_confirming else study.ended + 4)
            yield from run_study(study, plan, *others, **further)  # type: ignore[arg-type]

    monkeypatch.setattr("studies.search_run.run_study", counted)
    search = Search(study, replace(a_plan(12), trials=None, timeout=3600.0), "inline")
    list(search.run(lambda _: None))
    assert [confirming for _, confirming in rounds[:4]] == [False, True, False, True]
    reserves = [reserve for reserve, confirming in rounds if not confirming]
    assert reserves[0] == 120.0
    assert all(0 < reserve < 1800 for reserve in reserves[1:])
    assert not rounds[-1][1]  # the last search found nothing


def test_a_search_that_goes_on_knows_its_groups_and_what_they_took(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = create(url)
    run(study, 12)
    groups = {record.group for record in study.records()}
    _, strategy = strategy_of(study, a_plan(24))
    assert isinstance(strategy, Rungs)
    assert sum(tried.groups for tried in strategy._tried.all.values()) == len(groups)
    assert not any(tried.under_way for tried in strategy._tried.all.values())
    passed: list[float] = []

    def asked(_self: Rungs, _left: float, _trials: int | None, seconds: float) -> None:
        passed.append(seconds)

    monkeypatch.setattr(Rungs, "next", asked)
    with study.running():
        list(run_study(study, replace(a_plan(24), timeout=3600.0), InlineEngine(), lambda _: None))
        list(run_study(study, a_plan(24), InlineEngine(), lambda _: None))
    assert passed[0] >= study.trained_seconds() > 0
    assert passed[1] == math.inf  # where trials end it, no second is dearer than another


@pytest.mark.parametrize("says_plan", [True, False])
def test_what_it_is_going_to_do_is_said_once_after_its_first_group(url: str, says_plan: bool) -> None:
    study = create(url)
    plan = replace(a_plan(12), trials=None, timeout=3600.0)
    said: list[int] = []

    def notify(line: str) -> None:
        if line.startswith("plan: heads on "):
            said.append(study.ended)
        if line.startswith("confirming"):
            raise Interrupted("seen enough")

    def watch(_progress: Progress) -> None:
        if study.ended > 8:
            raise Interrupted("seen enough")

    search = Search(study, plan, "inline", notify=notify, says_plan=says_plan)
    with pytest.raises(Interrupted):
        list(search.run(watch))
    assert said == ([4] if says_plan else [])


def test_a_number_of_trials_is_not_exceeded_by_fresh_seeds(url: str) -> None:
    study = create(url)
    search = Search(study, replace(a_plan(8), timeout=3600.0), "inline")
    assert len(list(search.run(lambda _: None))) == 8
    assert search.why_ended(3.0) == ""
    assert study.confirmed() == []
