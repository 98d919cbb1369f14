"""The scaling benchmark: what a simulation promises, what is read from a study, what a page says."""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scaling import report
from bench.scaling import workers as of_workers
from bench.scaling.answering import made_up
from bench.scaling.command import main
from bench.scaling.filling import fill
from bench.scaling.recorded import RecordedTrial, recording_of, table_of
from bench.scaling.runs import load_simulations, load_storages, load_workers, save_run
from bench.scaling.simulate import Simulation
from bench.scaling.storages import Wanted, measure
from studies import Study, TrialRecord

from ..studies.small_studies import a_study, result
from ..toys import TOY
from .scaling_examples import EPOCHS, recorded, recording, simulation, storage, workers

TRIALS = st.lists(
    st.builds(recorded, st.sampled_from("abc"), st.floats(0.01, 10.0), st.integers(1, 100).map(lambda n: n / 100)),
    min_size=1,
    max_size=30,
)
WORKERS = st.integers(1, 9)
PRUNERS = st.sampled_from(["none", "median", "hyperband"])


def simulate(trials: list[RecordedTrial], workers: int = 1, lanes: int = 3, pruner: str = "none") -> Simulation:
    return Simulation(recording(trials, extra=2.0), trials, workers=workers, lanes=lanes, pruner=pruner)


@given(TRIALS, st.integers(1, 4))
def test_one_worker_takes_as_long_as_all_of_the_work(trials: list[RecordedTrial], lanes: int) -> None:
    found = simulate(trials, lanes=lanes).run()
    once = 2.0 * len({trial.shape for trial in trials})
    assert found.makespan == pytest.approx(EPOCHS * sum(trial.seconds for trial in trials) + once)
    assert found.busy == pytest.approx(found.makespan)
    assert found.idle == pytest.approx(0.0, abs=1e-9)


@given(TRIALS, WORKERS)
def test_workers_are_never_worth_more_than_their_number(trials: list[RecordedTrial], workers: int) -> None:
    one, many = simulate(trials).run(), simulate(trials, workers).run()
    assert one.makespan <= many.makespan * workers * (1 + 1e-9)
    # What each computes for itself comes to it.
    assert many.busy >= one.busy * (1 - 1e-9)


@given(TRIALS, WORKERS, PRUNERS)
def test_no_trial_is_lost_or_run_twice(trials: list[RecordedTrial], workers: int, pruner: str) -> None:
    played = simulate(trials, workers, pruner=pruner)
    found = played.run()
    assert Counter(map(id, played.given)) == Counter(map(id, trials))
    assert played.ended.keys() == set(range(len(trials)))
    assert found.trials == len(trials)
    assert found.epochs == sum(epochs for epochs, _ in played.ended.values())
    assert found.wasted == sum(epochs for epochs, value in played.ended.values() if value is None)
    assert all(epochs == EPOCHS for epochs, value in played.ended.values() if value is not None)


@given(TRIALS, WORKERS, PRUNERS)
def test_shares_of_time_are_shares(trials: list[RecordedTrial], workers: int, pruner: str) -> None:
    found = simulate(trials, workers, pruner=pruner).run()
    assert 0 <= found.idle_at_end <= found.idle + 1e-9
    assert found.idle <= 1


@given(TRIALS, WORKERS)
def test_without_a_pruner_nothing_is_wasted(trials: list[RecordedTrial], workers: int) -> None:
    found = simulate(trials, workers).run()
    assert (found.pruned, found.wasted) == (0, 0)
    assert found.epochs == EPOCHS * len(trials)
    assert found.best == max(trial.values[-1] for trial in trials)


@given(TRIALS, WORKERS, PRUNERS)
def test_one_seed_gives_one_simulation(trials: list[RecordedTrial], workers: int, pruner: str) -> None:
    kept = recording(trials)
    first, second = (
        Simulation(kept, kept.drawn(20, 7), workers=workers, lanes=2, pruner=pruner).run() for _ in range(2)
    )
    assert first == second


def test_what_is_clearly_worse_is_pruned_and_counted_as_wasted() -> None:
    trials = [recorded("a", 1.0, 0.9)] * 6 + [recorded("a", 1.0, 0.1)] * 6
    found = simulate(trials, lanes=1, pruner="median").run()
    assert found.pruned == 6
    assert 6 <= found.wasted < 6 * EPOCHS
    assert found.best == 0.9


def test_an_epoch_of_a_group_is_one_operation_and_so_are_asking_and_ending_each_trial() -> None:
    found = simulate([recorded("a", 1.0)] * 6, lanes=3).run()
    assert found.operations == 6 + 2 * EPOCHS + 6


def test_more_workers_than_groups_lie_idle() -> None:
    found = simulate([recorded("a", 1.0)] * 2, workers=4, lanes=1).run()
    assert found.idle == pytest.approx(0.5)
    assert found.idle_at_end == pytest.approx(0.5)


# --- what is read from a study


@functools.cache
def blank() -> TrialRecord:
    study = a_study("sqlite://")
    study.ask(TOY.space, 1)
    study.recording.finish(0, result())
    return study.trial(0)


def a_record(number: int, group: int, seconds: float, **changes: object) -> TrialRecord:
    curve = tuple((epoch, 0.1 * epoch) for epoch in range(1, 5))
    made = replace(blank(), number=number, group=group, seconds=seconds, epochs=4, curve=curve)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_the_first_group_of_a_structure_took_more_was_computed_once() -> None:
    # Ten seconds, of which two are no trial's; then twice as fast.
    records = [a_record(0, 0, 4.0), a_record(1, 0, 4.0), a_record(2, 2, 2.0)]
    spans = {0: (100.0, 110.0), 1: (102.0, 110.0), 2: (110.0, 112.0)}
    trials, shapes = table_of(records, spans, 4)
    assert [trial.seconds for trial in trials] == [0.5, 0.5, 0.5]
    (shape,) = shapes.values()
    assert shape.extra == pytest.approx(10.0 - 2 * 4 * 0.5)
    assert shape.together


def test_trials_that_did_not_come_to_their_end_are_not_drawn() -> None:
    spans = {number: (0.0, 1.0) for number in range(5)}
    records = [
        a_record(0, 0, 1.0),
        a_record(1, 1, 1.0, state="pruned"),
        a_record(2, 2, 1.0, confirms=0),
        a_record(3, 3, 0.0),  # another one's record answered it
        a_record(4, 4, 1.0, curve=((1, 0.5),)),
        a_record(5, 5, 1.0),  # it has not ended
    ]
    trials, shapes = table_of(records, spans, 4)
    assert len(trials) == 1
    assert len(shapes) == 1


def test_a_study_is_recorded_and_drawn_from(tmp_path: Path) -> None:
    study = filled(str(tmp_path / "j.log"), 6)
    kept = recording_of(study)
    assert (kept.study, kept.epochs, kept.direction) == ("s", 3, "maximize")
    assert len(kept.trials) == 5
    assert all(len(trial.values) == 3 for trial in kept.trials)
    assert kept.drawn(8, 1) == kept.drawn(8, 1) != kept.drawn(8, 2)


def filled(url: str, size: int) -> Study:
    study = a_study(url, pruner="hyperband")
    fill(study, TOY, size, lambda number: made_up(number, 3))
    return Study.open("s", url)


def test_a_filled_study_is_the_same_in_every_storage(tmp_path: Path) -> None:
    journal, database = (filled(str(tmp_path / name), 8) for name in ("j.log", "d.sqlite"))
    assert journal.records() == database.records()
    assert journal.ended == 7  # and the recipe waits
    assert [record.value for record in journal.records()] == sorted(record.value or 0.0 for record in journal.records())


# --- what storages cost


def test_each_size_is_measured_in_each_storage() -> None:
    notes: list[str] = []
    wanted = Wanted(TOY, (0, 4), trials=1, epochs=2, pruner="hyperband", postgres=None, command="measure")
    journal, sqlite = measure(wanted, notes.append)
    assert [run.storage for run in (journal, sqlite)] == ["journal", "sqlite"]
    for run in (journal, sqlite):
        assert [one.there for one in run.measured] == [0, 4]
        for one in run.measured:
            assert len(one.milliseconds) == 1
            assert one.operations == 1 + 2 + 1
            assert one.median <= one.slow
            assert sum(one.parts.values()) <= sum(one.milliseconds)
    assert notes[-1].startswith("postgresql: left out")


# --- pages


def test_runs_are_what_was_kept(tmp_path: Path) -> None:
    runs = [simulation("none"), simulation("hyperband"), simulation("none", 16)]
    for run in (*runs, storage("postgresql"), storage()):
        save_run(tmp_path, run)
    assert load_simulations(tmp_path) == [runs[0], runs[1], runs[2]]
    assert load_storages(tmp_path) == [storage(), storage("postgresql")]


def test_a_page_and_a_figure_of_the_runs_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in (simulation("none"), simulation("hyperband"), simulation("none", 16), storage(), storage("postgresql")):
        save_run(tmp_path, run)
    assert main(["report", "--out", str(tmp_path)]) == 0
    page = (tmp_path / report.PAGE).read_text()
    assert page == capsys.readouterr().out
    assert "up to 2 workers are worth at least 80% of their number" in page
    assert "The goal of at most 50 ms is met." in page
    assert "PostgreSQL 15.3; commit abc" in page
    assert (tmp_path / report.FIGURE).stat().st_size > 1000
    for arguments in (["--json", "report"], ["report", "--json"]):
        assert main([*arguments, "--out", str(tmp_path)]) == 0
        runs = json.loads(capsys.readouterr().out)
        assert [run.get("storage") for run in runs] == [None, None, None, "journal", "postgresql"]


def test_a_page_needs_only_one_of_the_parts(tmp_path: Path) -> None:
    save_run(tmp_path, simulation())
    assert "Recorded studies" in report.write_report(tmp_path, "report")
    assert "Recorded studies" not in report.page([], [storage()], [], "report")


def test_a_goal_that_is_missed_is_said() -> None:
    assert "50 ms is missed" in report.page([], [storage(milliseconds=60.0)], [], "report")


def test_workers_are_compared_round_by_round(tmp_path: Path) -> None:
    """One round was slow for all: the ratios are those within rounds."""
    save_run(tmp_path, workers([(100.0, 60.0, 50.0), (200.0, 130.0, 100.0), (100.0, 55.0, 40.0)]))
    assert load_workers(tmp_path) == [workers([(100.0, 60.0, 50.0), (200.0, 130.0, 100.0), (100.0, 55.0, 40.0)])]
    page = report.write_report(tmp_path, "report")
    assert "fruit: 2 workers do 2.00 x the trials an hour of one worker with 1 thread (median of 3 rounds" in page
    assert "fruit: 2 workers do 1.30 x the trials an hour of one worker with 2 threads" in page
    assert "| 1         | 1         | 3        | 432 (216 to 432)" in page


def test_each_way_begins_a_round_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def searched(_wanted: of_workers.Wanted, workers: int, threads: int) -> tuple[float, int]:
        asked.append((workers, threads))
        return 10.0, 4

    monkeypatch.setattr(of_workers, "_searched", searched)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    out = ["--out", str(tmp_path), "--data", "photos", "--weights-dir", "weights"]
    assert main(["workers", *out]) == 0
    (run,) = load_workers(tmp_path)
    ways = [(1, 1), (1, 2), (2, 2)]
    assert asked == [*ways, *ways[1:], ways[0], ways[2], *ways[:2]]
    assert [(each.workers, each.threads) for each in run.rounds] == asked
    assert {each.per_hour for each in run.rounds} == {1440.0}


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = str(tmp_path / "j.log")
    filled(journal, 3)
    out = ["--out", str(tmp_path / "out")]
    for arguments in (
        ["report", *out],
        ["simulate", "none", "--storage", journal, *out],
        ["simulate", "s", "--storage", journal, "--pruners", "some", *out],
        ["simulate", "s", "--storage", journal, "--workers", "0", *out],
        ["storages", "--task", "none", *out],
        ["workers", "--data", "none", "--weights-dir", "none", "--workers", "1", *out],
    ):
        assert main(arguments) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_study_is_simulated_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = str(tmp_path / "j.log")
    filled(journal, 6)
    options = ["--workers", "1,4", "--trials", "20", "--lanes", "2", "--pruners", "none,hyperband"]
    assert main(["simulate", "s", "--storage", journal, "--out", str(tmp_path), *options]) == 0
    first, second = load_simulations(tmp_path)
    assert (first.pruner, second.pruner) == ("none", "hyperband")
    assert [one.workers for one in first.simulated] == [1, 4]
    assert first.simulated[0].trials == 20
    assert capsys.readouterr().err.count("\n") == 4
