"""A study confirms its best trials on fresh seeds, and its search is none the wiser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import InputError, Task
from studies import Interrupted, Plan, Progress, Study
from studies.confirmation import Confirmation
from studies.confirmed import ToConfirm, runs_to_confirm
from studies.records import TrialRecord
from studies.settings import Settings
from studies.status import status_of
from training import FitResult, SaveClock, State, fit
from training.machine.seeds import fresh_seed

from ..toys import ToyData, toy_backbone
from .settings import settings_for
from .toy_plans import EPOCHS, HEADS, STAGES, plan, run_inline, use_toy_backbone


@pytest.fixture(autouse=True)
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)


def settings(task: Task, **options: object) -> Settings:
    return settings_for(task, epochs=EPOCHS, **options)  # type: ignore[arg-type]


def search(url: str, what: Plan, *, pruner: str = "median") -> Study:
    """A study in which a search has `what.trials` trials, made or gone on with."""
    try:
        study = Study.open("s", url, to_run=True)
    except InputError:
        study = Study.create("s", url, settings(what.task, pruner=pruner), what.task.recipe)
    for _ in run_inline(study, what, lambda _progress: None):
        pass
    return Study.open("s", url)


def confirmation(url: str, what: Plan, top: int = 2, seeds: int = 2) -> Confirmation:
    study = Study.open("s", url, to_run=True)
    runs = runs_to_confirm(study.records(), direction="maximize", seed=0, top=top, seeds=seeds)
    return Confirmation(study, what, "inline", tuple(runs), "pomona confirm s")


def confirm(url: str, what: Plan, top: int = 2, seeds: int = 2) -> list[int]:
    """The numbers of the trials that were trained."""
    return [outcome.number for outcome in confirmation(url, what, top, seeds).run(lambda _progress: None)]


def searched(records: Iterable[TrialRecord]) -> list[object]:
    """What a search found, whatever the numbers of its trials."""
    return [(r.state, r.config, r.curve, r.ci95, r.seed) for r in records if r.confirms is None]


def confirmed(records: Iterable[TrialRecord]) -> list[tuple[object, ...]]:
    found = [(r.confirms, r.seed, r.config, r.state, r.curve, r.ci95) for r in records if r.confirms is not None]
    return sorted(found, key=lambda one: one[:2])


@pytest.mark.parametrize(("task", "lanes"), [(HEADS, 3), (STAGES, 1)], ids=["heads", "stages"])
def test_each_is_the_config_trained_with_the_fresh_seed(tmp_path: Path, task: Task, lanes: int) -> None:
    url, what = str(tmp_path / "j.log"), plan(task, lanes, 5)
    study = search(url, what)
    before = study.records()
    assert sorted(confirm(url, what)) == [5, 6, 7, 8]
    study = Study.open("s", url)
    records = study.records()
    assert records[:5] == before
    best = sorted(before, key=lambda record: -(record.value or 0.0))
    for record in records[5:]:
        assert record.state == "complete"
        assert record.confirms is not None
        assert record.config == before[record.confirms].config
        alone = fit(task, record.config, ToyData().at(16), epochs=EPOCHS, seed=record.seed, backbones=toy_backbone)
        assert [value for _, value in record.curve] == [epoch.value for epoch in alone.curve]
    first, second = study.confirmed()
    assert {first.number, second.number} == {record.number for record in best if record.state == "complete"} & {
        record.confirms for record in records
    }
    assert status_of(study)["confirmations"] == 4
    assert not list(study.folder.glob("trials/*"))


@pytest.mark.parametrize(("pruner", "lanes"), [("median", 1), ("hyperband", 3)])
def test_a_search_goes_on_as_if_nothing_had_been_confirmed(tmp_path: Path, pruner: str, lanes: int) -> None:
    undisturbed, url = str(tmp_path / "undisturbed" / "j.log"), str(tmp_path / "j.log")
    few, many = plan(HEADS, lanes, 6), plan(HEADS, lanes, 12)
    search(undisturbed, few, pruner=pruner)
    search(url, few, pruner=pruner)
    confirm(url, few)
    other, study = search(undisturbed, many), search(url, many)
    assert searched(study.records()) == searched(other.records())
    assert "pruned" in study.counts()
    assert study.counts() == other.counts()
    assert study.ended == other.ended == 12
    one, same = study.best(), other.best()
    assert one is not None
    assert same is not None
    assert one.config == same.config


def test_nothing_is_done_twice_and_more_seeds_add_to_what_is_there(tmp_path: Path) -> None:
    url, what = str(tmp_path / "j.log"), plan(HEADS, 2, 5)
    search(url, what)
    assert len(confirm(url, what, top=1, seeds=2)) == 2
    assert confirm(url, what, top=1, seeds=2) == []
    before = Study.open("s", url).records()
    assert len(confirm(url, what, top=2, seeds=3)) == 4
    records = Study.open("s", url).records()
    assert records[: len(before)] == before
    seeds = [fresh_seed(0, nth) for nth in (1, 2, 3)]
    assert sorted((r.confirms, r.seed) for r in records if r.confirms is not None) == sorted(
        (number, seed) for number in {r.confirms for r in records if r.confirms is not None} for seed in seeds
    )


@pytest.mark.parametrize("lanes", [1, 3])
def test_stopped_again_and_again_it_ends_as_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    whole, url = str(tmp_path / "whole" / "j.log"), str(tmp_path / "j.log")
    what = plan(HEADS, lanes, 6)
    search(whole, what)
    confirm(whole, what, top=3)
    search(url, what)
    monkeypatch.setattr(SaveClock, "due", lambda _clock: True)
    calls = stops = 0

    def watch(_progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls % 17 == 0:
            raise Interrupted("again")

    for _ in range(60):
        try:
            list(confirmation(url, what, top=3).run(watch))
            break
        except Interrupted:
            stops += 1
    assert stops > 1
    assert confirmed(Study.open("s", url).records()) == confirmed(Study.open("s", whole).records())


def test_what_a_smaller_call_does_not_want_keeps_waiting_and_a_search_leaves_it_alone(tmp_path: Path) -> None:
    url, what = str(tmp_path / "j.log"), plan(HEADS, 1, 5)
    search(url, what)

    def stop(progress: Progress) -> None:
        if progress.running:
            raise Interrupted("at once")

    with pytest.raises(Interrupted):
        list(confirmation(url, what, top=3, seeds=3).run(stop))
    study = search(url, plan(HEADS, 1, 6))
    assert (study.ended, status_of(study)["confirmations"]) == (6, 0)
    assert len(confirm(url, what, top=1, seeds=2)) == 2
    assert status_of(Study.open("s", url))["confirmations"] == 2
    # In all, 9 of the first call's, and those of a trial that is among the best since.
    confirm(url, what, top=3, seeds=3)
    assert all(one.seeds == 3 for one in Study.open("s", url).confirmed()[:3])


def ended_by(study: Study, runs: list[ToConfirm], *states: State) -> None:
    """Gives out the runs, each to end in a state."""
    with study.confirming(runs):
        for state in states:
            proposal = study.ask(HEADS.space, 4)
            assert proposal is not None
            study.recording.finish(proposal.number, FitResult(state, "why", None, (), 0.0, proposal.seed))
        assert study.ask(HEADS.space, 4) is None


def test_a_run_that_failed_is_done_again(tmp_path: Path) -> None:
    url, what = str(tmp_path / "j.log"), plan(HEADS, 1, 4)
    search(url, what)
    runs = confirmation(url, what, top=1, seeds=2).runs
    ended_by(Study.open("s", url, to_run=True), runs, State.FAILED, State.FAILED)
    assert Study.open("s", url).runs_ended(runs) == 0
    assert len(confirm(url, what, top=1, seeds=2)) == 2
    (one,) = Study.open("s", url).confirmed()
    assert (one.number, one.seeds) == (runs[0].number, 2)


def test_a_trial_with_a_run_that_came_to_nothing_is_refuted_and_the_next_one_confirmed(tmp_path: Path) -> None:
    url, what = str(tmp_path / "j.log"), plan(HEADS, 1, 4)
    search(url, what)
    runs = confirmation(url, what, top=1, seeds=2).runs
    ended_by(Study.open("s", url, to_run=True), runs, State.FAILED, State.INFEASIBLE)
    study = Study.open("s", url)
    assert study.runs_ended(runs) == 1
    assert study.confirmed() == []
    assert study.refuted() == {runs[0].number: "no result on 1 of 1 fresh seeds: why"}
    best = study.best()
    assert best is not None
    assert best.number != runs[0].number
    assert len(confirm(url, what, top=1, seeds=2)) == 2
    assert [one.number for one in Study.open("s", url).confirmed()] == [best.number]


def test_a_group_gets_no_trial_of_another_seed(tmp_path: Path) -> None:
    url, what = str(tmp_path / "j.log"), plan(HEADS, 1, 4)
    search(url, what)
    runs = confirmation(url, what, top=2, seeds=2).runs
    study = Study.open("s", url, to_run=True)
    structure = {name: HEADS.recipe[name] for name in ("backbone", "resolution")}
    with study.confirming(runs):
        first = study.ask(HEADS.space, 4)
        assert first is not None
        assert study.ask(HEADS.space, 4, structure=structure, seed=first.seed + 1) is None
        second = study.ask(HEADS.space, 4, structure=structure, seed=first.seed)
        assert second is not None
        assert (second.seed, second.config) == (first.seed, runs[1].config)
        # Both of the first seed are given.
        assert study.ask(HEADS.space, 4, structure=structure, seed=first.seed) is None
        third = study.ask(HEADS.space, 4, structure=structure, seed=runs[2].seed)
        assert third is not None


def test_it_is_never_pruned(tmp_path: Path) -> None:
    url, what = str(tmp_path / "j.log"), plan(HEADS, 1, 6)
    search(url, what, pruner="hyperband")
    study = Study.open("s", url, to_run=True)
    with study.confirming(confirmation(url, what, top=1, seeds=1).runs):
        proposal = study.ask(HEADS.space, 6)
        assert proposal is not None
        for epoch in range(1, EPOCHS):
            study.recording.report(proposal.number, epoch, 0.0)
            assert study.recording.prune_many([proposal.number]) == set()


def test_a_trial_that_was_enqueued_with_a_seed_is_trained_with_it(tmp_path: Path) -> None:
    """With Optuna itself, say from a notebook: another seed of one config is another trial."""
    url, what = str(tmp_path / "j.log"), plan(HEADS, 1, 3)
    study = Study.create("s", url, settings(HEADS), HEADS.recipe)
    for seed in (7, 7, "A"):
        study._study.enqueue_trial(HEADS.recipe, user_attrs={"seed": seed})
    records = search(url, replace(what, trials=4)).records()
    assert [record.seed for record in records] == [0, 7, 7, 0]
    assert [record.note for record in records] == [
        "recipe",
        "",
        "same config as trial 1, answered from its record",
        "same config as trial 0, answered from its record",
    ]
    assert records[0].curve != records[1].curve == records[2].curve
