"""The anytime benchmark: what is best when, what is held back, which runs are made, and what the page says."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.anytime import figures, measure, report
from bench.anytime.command import main
from bench.anytime.held_back import hold_back
from bench.anytime.job import Answer, Job
from bench.anytime.runs import (
    BEFORE,
    OPTUNA,
    OURS,
    PROBE,
    SYSTEMS,
    Point,
    at_marks,
    best_at,
    incumbents,
    load_run,
    load_runs,
    reached,
    run_path,
    save_run,
)
from search_spaces import InputError
from training import wilson

from ..pomona.photos import tiny_photos
from .anytime_examples import point, run

POINTS = st.lists(st.builds(point, st.floats(0, 600), st.integers(0, 200).map(lambda right: right / 200)), max_size=12)


@given(POINTS, st.floats(0, 600))
def test_the_best_so_far_is_the_maximum_of_what_was_there(points: list[Point], seconds: float) -> None:
    there = [one.value for one in points if one.seconds <= seconds]
    best = best_at(points, seconds)
    assert (None if best is None else best.value) == max(there, default=None)


@given(POINTS)
def test_incumbents_rise(points: list[Point]) -> None:
    values = [one.value for one in incumbents(points)]
    assert values == sorted(set(values))
    assert set(at_marks(points, 600.0)) <= set(incumbents(points))


@given(POINTS, st.integers(0, 200).map(lambda right: right / 200))
def test_a_value_is_reached_as_soon_as_the_best_so_far_is_as_good(points: list[Point], value: float) -> None:
    when = reached(points, value)
    assert (when is None) == all(one.value < value for one in points)
    if when is not None:
        assert best_at(points, when).value >= value  # type: ignore[union-attr]
        assert not any(one.value >= value for one in points if one.seconds < when)


def test_a_run_comes_back_from_its_file(tmp_path: Path) -> None:
    first, second = run(OURS, point(3.0, 0.9, test=0.8)), run(OPTUNA)
    save_run(tmp_path, first)
    save_run(tmp_path, second)
    assert load_runs(tmp_path) == [second, first]  # in the order of the report


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = run_path(tmp_path, "fruit", OURS, 0)
    path.parent.mkdir()
    path.write_text('{"task": 3}')
    with pytest.raises(InputError, match=r"fruit-ours-0\.json"):
        load_run(path)


def files(folder: Path) -> Counter[tuple[str, Path]]:
    return Counter(
        (path.relative_to(folder).parts[0], path.resolve()) for path in folder.rglob("*.png") if path.is_file()
    )


def test_what_is_held_back_is_a_part_of_train_and_no_system_sees_it(tmp_path: Path) -> None:
    photos = tiny_photos(tmp_path / "photos", train=10)
    held = hold_back(photos, tmp_path / "scratch" / "fruit")
    searched, whole = files(held.searched), files(held.whole)
    assert {split for split, _ in searched} == {"train", "valid"}
    test = {path for split, path in whole if split == "test"}
    train = {path for split, path in whole if split == "train"}
    assert test | train == {path.resolve() for path in (photos / "train").rglob("*.png")}
    assert len(test) == 12  # a fifth of each class
    assert not test & {path for _, path in searched}
    assert {(split, path) for split, path in whole if split != "test"} == set(searched)


def test_groups_stay_whole(tmp_path: Path) -> None:
    photos = tiny_photos(tmp_path / "photos", train=10)
    rows = [
        f"{path.relative_to(photos)},{path.parent.name}-{int(path.stem) // 2}"
        for path in sorted((photos / "train").rglob("*.png"))
    ]
    (photos / "manifest.csv").write_text("\n".join(["path,group", *rows]))
    held = hold_back(photos, tmp_path / "fruit")
    sides: dict[str, set[str]] = {}
    for path in held.whole.rglob("*.png"):
        if path.resolve().parent.parent.name == "train":
            group = f"{path.parent.name}-{int(path.stem) // 2}"
            sides.setdefault(group, set()).add(path.relative_to(held.whole).parts[0])
    assert all(len(where) == 1 for where in sides.values())
    assert "group" in (held.searched / "manifest.csv").read_text()


def test_links_are_made_once_and_of_one_folder(tmp_path: Path) -> None:
    first, other = tiny_photos(tmp_path / "a"), tiny_photos(tmp_path / "b")
    held = hold_back(first, tmp_path / "fruit")
    made = os.stat(held.searched).st_ino
    assert hold_back(first, tmp_path / "fruit") == held
    assert os.stat(held.searched).st_ino == made
    with pytest.raises(InputError, match="other photos"):
        hold_back(other, tmp_path / "fruit")


def plan_of(tmp_path: Path, **changes: object) -> measure.Plan:
    if not (tmp_path / "data").is_dir():
        tiny_photos(tmp_path / "data" / "fruit")
    made = measure.Plan(
        tasks=("fruit",),
        systems=(OPTUNA, PROBE, OURS),
        seeds=(0, 1),
        seconds=60.0,
        epochs=2,
        data=tmp_path / "data",
        weights_dir=tmp_path,
        out=tmp_path / "out",
        earlier="HEAD",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_all_of_a_seed_come_before_the_next_and_systems_take_turns_at_beginning(tmp_path: Path) -> None:
    order = plan_of(tmp_path, tasks=("fruit", "flowers")).order()
    assert len(set(order)) == len(order) == 12
    assert [seed for _, _, seed in order] == [0] * 6 + [1] * 6
    assert [system for _, system, _ in order[:3]] == [OPTUNA, PROBE, OURS]
    assert [system for _, system, _ in order[6:9]] == [PROBE, OURS, OPTUNA]


def made_up(job: Job, plan: measure.Plan) -> Answer:
    return Answer((point(5.0, 0.5),), 60.0, "a command", "abc")


def test_runs_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    said: list[str] = []
    first = measure.measure(plan_of(tmp_path, seeds=(0,)), said.append, made_up)
    assert len(first) == len(said) == 3
    assert "run 1 of 3, about 3 min left" in said[0]
    assert [key[2] for key in measure.measure(plan_of(tmp_path), said.append, made_up)] == [1, 1, 1]
    assert measure.measure(plan_of(tmp_path), said.append, made_up) == []


def test_a_run_is_kept_as_soon_as_it_is_done(tmp_path: Path) -> None:
    def stopped(job: Job, plan: measure.Plan) -> Answer:
        if job.system == OURS:
            raise KeyboardInterrupt
        return made_up(job, plan)

    with pytest.raises(KeyboardInterrupt):
        measure.measure(plan_of(tmp_path), lambda line: None, stopped)
    assert [one.system for one in load_runs(tmp_path / "out")] == [OPTUNA, PROBE]


def test_a_run_that_failed_is_tried_again_and_told(tmp_path: Path) -> None:
    def failing(job: Job, plan: measure.Plan) -> Answer:
        return Answer((), 1.0, "a command", "abc", failure="exit code 1: no weights")

    said: list[str] = []
    plan = plan_of(tmp_path, systems=(OURS,), seeds=(0,))
    measure.measure(plan, said.append, failing)
    assert said[-1] == "it failed: exit code 1: no weights"
    assert "fruit ours 0: exit code 1: no weights" in report.write_report(plan.out, "report")
    assert measure.measure(plan, said.append, made_up) == [("fruit", OURS, 0)]


@pytest.mark.parametrize("change", [{"seconds": 30.0}, {"epochs": 3}])
def test_runs_of_other_settings_are_refused(tmp_path: Path, change: dict[str, float]) -> None:
    measure.measure(plan_of(tmp_path), lambda line: None, made_up)
    with pytest.raises(InputError, match="choose another --out"):
        measure.measure(plan_of(tmp_path, **change), lambda line: None, made_up)


def test_runs_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    measure.measure(plan, lambda line: None, made_up)
    (first, *_) = load_runs(plan.out)
    save_run(plan.out, dataclasses.replace(first, environment=first.environment | {"device": "another one"}))
    with pytest.raises(InputError, match=r"another machine \(another one"):
        measure.measure(plan, lambda line: None, made_up)


def test_the_winner_that_ours_names_and_its_ensemble_stand_beside_its_best_trial() -> None:
    ours = dataclasses.replace(
        run(OURS, point(5.0, 0.99, test=0.8)), winner=point(600.0, 0.98, test=0.9), ensemble=point(600.0, 1.0, test=0.7)
    )
    text = report.page([ours, run(PROBE, point(5.0, 0.9, test=0.85))], "report")
    line = next(line for line in text.splitlines() if "Who is best on fruit" in line)
    for said in ("(e) 80.0 (100;", "(e) the winner that it names 90.0 (100;", "(e) its ensemble 70.0 (100;"):
        assert said in line
    assert line.endswith("which does not tell the best apart from all others.")


def test_a_speed_up_is_against_the_peer_and_against_its_time() -> None:
    runs = [run(OPTUNA, point(100.0, 0.9), point(300.0, 0.95)), run(OURS, point(20.0, 0.94), point(30.0, 0.96))]
    (found,) = figures.speed_ups(runs)
    assert (found.target, found.peers, found.seconds) == (0.95, 300.0, 30.0)
    assert (found.of_peer, found.of_budget) == (10.0, 20.0)


def test_who_is_never_there_has_no_speed_up() -> None:
    runs = [run(OPTUNA, point(100.0, 0.9)), run(BEFORE, point(20.0, 0.89))]
    (found,) = figures.speed_ups(runs)
    assert found.seconds is None
    assert found.of_peer == found.of_budget == 0.0
    assert "never" in report.page(runs, "report")


def test_ours_is_below_the_probe_only_beyond_its_interval() -> None:
    bound = wilson(0.95, 200).low
    inside = [run(PROBE, point(10.0, 0.95)), run(OURS, point(9.0, bound + 0.001))]
    assert figures.below_probe(inside) == []
    outside = [run(PROBE, point(10.0, 0.95)), run(OURS, point(20.0, bound - 0.1), point(50.0, 0.95))]
    nothing, worse = figures.below_probe(outside)
    assert (nothing.start, nothing.end, nothing.ours) == (10.0, 20.0, None)
    assert (worse.start, worse.end, worse.ours) == (20.0, 50.0, bound - 0.1)
    assert worse.bound == bound


@given(POINTS, POINTS)
def test_stretches_below_the_probe_are_apart_and_in_order(ours: list[Point], probe: list[Point]) -> None:
    found = figures.below_probe([run(OURS, *ours), run(PROBE, *probe)])
    for one in found:
        assert one.start < one.end <= 600.0
    for one, other in itertools.pairwise(found):
        assert one.end <= other.start


def test_a_mark_beyond_the_time_of_a_run_has_no_value() -> None:
    assert figures.value_at(run(OURS, point(5.0, 0.9), seconds=60.0), 180.0) is None
    assert figures.marks_of([run(OURS, seconds=100.0)]) == [30.0, 60.0, 100.0]


def test_the_page_answers_from_the_numbers_and_the_figure_is_there(tmp_path: Path) -> None:
    for seed in (0, 1):
        save_run(tmp_path, run(OPTUNA, point(40.0, 0.9), seed=seed))
        save_run(tmp_path, run(PROBE, point(10.0, 0.99, test=0.97), seed=seed))
        save_run(tmp_path, run(OURS, point(4.0 + seed, 0.91, test=0.88), seed=seed))
    text = report.write_report(tmp_path, "python -m bench.anytime report")
    assert (tmp_path / "README.md").read_text() == text
    assert (tmp_path / "anytime.png").read_bytes().startswith(b"\x89PNG")
    assert "| fruit  | (a) optuna |" in text
    assert "In 2 of 2 runs it gets there; the median is 135 x sooner than the time" in text
    assert "In 2 of 2 runs; in 0 the probe had a model before ours had any." in text
    assert "Who is best on fruit at the end? (c)" in text
    assert "88.00" in text  # on what was held back
    assert str(tmp_path) not in text


def test_systems_on_other_machines_or_threads_are_not_compared(tmp_path: Path) -> None:
    save_run(tmp_path, run(OURS, point(4.0, 0.91)))
    save_run(tmp_path, run(OPTUNA, point(40.0, 0.9), seed=1))
    other = run(OPTUNA, point(40.0, 0.9))
    save_run(tmp_path, dataclasses.replace(other, environment=other.environment | {"device": "a machine, 1 threads"}))
    with pytest.raises(
        InputError, match=r"runs of fruit, seed 0, can't be compared \(.*optuna on a machine, 1 threads"
    ):
        report.write_report(tmp_path, "report")
    assert not (tmp_path / "README.md").exists()


def test_of_several_machines_the_page_says_what_ran_on_which(tmp_path: Path) -> None:
    for seed, device in ((0, "a machine"), (1, "a machine"), (2, "another one")):
        for one in (run(OURS, point(4.0, 0.91), seed=seed), run(OPTUNA, point(40.0, 0.9), seed=seed)):
            save_run(tmp_path, dataclasses.replace(one, environment=one.environment | {"device": device}))
    text = report.write_report(tmp_path, "report")
    assert "- machine: a machine (fruit 0, fruit 1); another one (fruit 2); all systems of a task" in text


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["report", "--out", tmp_path],
        ["run", "--data", tmp_path / "absent", "--weights-dir", tmp_path, "--out", tmp_path],
        ["run", "--data", tmp_path, "--weights-dir", tmp_path, "--systems", "grid", "--out", tmp_path],
        ["run", "--data", tmp_path, "--weights-dir", tmp_path, "--tasks", "sms_spam", "--out", tmp_path],
    ):
        assert main([str(argument) for argument in arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_every_system_is_in_the_page_by_its_title() -> None:
    text = report.page([run(system, point(1.0, 0.5)) for system in SYSTEMS], "report")
    assert all(title in text for title in SYSTEMS.values())
