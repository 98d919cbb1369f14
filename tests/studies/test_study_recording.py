"""A study records many at once as one by one, and goes on from any part of what was recorded."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import Study
from studies.records import TrialRecord
from training import State

from ..toys import TOY
from .small_studies import STRUCTURE, a_study, result

# --- together


def everything(records: list[TrialRecord]) -> list[object]:
    return [(r.number, r.state, r.config, r.curve, r.value, r.ci95, r.note) for r in records]


def run_lanes(study: Study, trials: int, *, bulk: bool) -> list[set[int]]:
    """Trials in groups of three, side by side; returns who was given up after each epoch."""
    given_up = []
    while (first := study.ask(TOY.space, trials)) is not None:
        others = [study.ask(TOY.space, trials) for _ in range(2)]
        lanes = [first.number, *(lane.number for lane in others if lane is not None)]
        for epoch in range(1, 10):
            # Lanes differ in which is ahead, epoch by epoch.
            values = {number: (epoch, ((number * 7 + epoch * 3) % 11) / 11) for number in lanes}
            if bulk:
                study.recording.report_many(values)
                pruned = study.recording.prune_many(lanes)
            else:
                for number, (_, value) in values.items():
                    study.recording.report(number, epoch, value)
                pruned = {number for number in lanes if study.recording.should_prune(number)}
            given_up.append(pruned)
            for number in pruned:
                study.recording.finish(number, result(State.PRUNED))
            lanes = [number for number in lanes if number not in pruned]
        for number in lanes:
            study.recording.finish(number, result())
    return given_up


def test_what_is_done_in_bulk_is_the_same_as_one_by_one(tmp_path: Path) -> None:
    outcomes = []
    for bulk in (False, True):
        study = a_study(str(tmp_path / str(bulk) / "journal.log"), pruner="hyperband", epochs=9)
        given_up = run_lanes(study, 18, bulk=bulk)
        assert any(given_up)
        outcomes.append((given_up, everything(study.records())))
    assert outcomes[0] == outcomes[1]


def test_what_is_recorded_together_is_the_same(tmp_path: Path) -> None:
    studies = []
    for folder in ("apart", "together"):
        study = a_study(str(tmp_path / folder / "journal.log"))
        studies.append(study)
    for number in range(6):
        for study in studies:
            with study.together() if study is studies[1] else nullcontext():
                proposal = study.ask(TOY.space, 6)
                assert proposal is not None
                study.recording.report(proposal.number, 1, number / 10)
                study.recording.finish(proposal.number, result(right=number))
    assert everything(studies[0].records()) == everything(studies[1].records())
    for study in studies:
        assert everything(Study.open("s", study.storage_url).records()) == everything(study.records())


def test_asking_waits_for_the_disk_once_and_so_do_reports_and_finishing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = a_study(url, pruner="hyperband", epochs=9)
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    for number in range(4):
        proposal = study.ask(TOY.space, 4)
        assert len(waits) == 1 + 4 * number
        assert proposal is not None
        study.recording.report_many({number: (1, 0.5)})
        assert len(waits) == 2 + 4 * number
        study.recording.prune_many([number])
        assert len(waits) <= 3 + 4 * number
        waits[2 + 4 * number :] = [0]
        study.recording.finish(number, result())
        assert len(waits) == 4 + 4 * number


def test_the_same_in_a_database(tmp_path: Path) -> None:
    """Nothing can be put together there, but everything works."""
    study = a_study(f"sqlite:///{tmp_path}/studies.db", pruner="hyperband", epochs=9)
    journal = a_study(str(tmp_path / "journal.log"), pruner="hyperband", epochs=9)
    assert run_lanes(study, 6, bulk=True) == run_lanes(journal, 6, bulk=True)
    assert everything(study.records()) == everything(journal.records())


# --- a kill while a trial is asked for or ends


@pytest.fixture(scope="module")
def asked_and_finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int, int]:
    """A journal of two trials, and how long it was before the second was asked for, and before its end was recorded."""
    path = tmp_path_factory.mktemp("whole") / "journal.log"
    study = a_study(str(path))
    assert study.ask(TOY.space, 3) is not None
    study.recording.finish(0, result())
    before_ask = path.stat().st_size
    assert study.ask(TOY.space, 3, structure=STRUCTURE) is not None
    study.recording.report(1, 1, 0.5)
    before_finish = path.stat().st_size
    study.recording.finish(1, result(State.PRUNED, "why"))
    return path.read_bytes(), before_ask, before_finish


@given(st.data())
def test_a_study_goes_on_from_any_part_of_what_was_recorded(
    asked_and_finished: tuple[bytes, int, int], data: st.DataObject
) -> None:
    content, before_ask, before_finish = asked_and_finished
    cut = data.draw(st.integers(before_ask, len(content)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.log"
        path.write_bytes(content[:cut])
        study = Study.open("s", str(path), to_run=True)
        interrupted = study.left(TOY.space, 3)
        # A trial whose first record is there goes on: with its number and its structure.
        begun = content.count(b"\n", before_ask, cut) > 0
        assert [proposal.number for proposal in interrupted] == ([1] if begun and cut < len(content) else [])
        for proposal in interrupted:
            assert STRUCTURE.items() <= proposal.config.items()
            assert proposal.config == Study.open("s", str(path)).trial(1).config
            if cut >= before_finish:
                assert study.trial(1).curve == ((1, 0.5),)
            study.recording.finish(proposal.number, result())
        for proposal in study.proposals(TOY.space, 3):
            study.recording.finish(proposal.number, result())
        records = Study.open("s", str(path)).records()
        assert [record.number for record in records] == [0, 1, 2]
        assert all(TOY.space.validate(record.config) == record.config for record in records)


def test_a_trial_of_which_only_the_first_record_is_left_gets_the_same_config(
    asked_and_finished: tuple[bytes, int, int], tmp_path: Path
) -> None:
    content, before_ask, _ = asked_and_finished
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    config = Study.open("s", str(path)).trial(1).config
    path.write_bytes(content[: content.index(b"\n", before_ask) + 1])
    assert [proposal.config for proposal in Study.open("s", str(path), to_run=True).left(TOY.space, 3)] == [config]


def finish_together(url: str, line: Connection) -> None:
    study = Study.open("s", url, to_run=True)
    with study.together():
        for proposal in study.left(TOY.space, 5):
            study.recording.finish(proposal.number, result())
        line.send(study.ended)
        line.recv()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_before_the_end_of_a_batch_loses_only_the_batch(url: str) -> None:
    study = a_study(url)
    asked = [study.ask(TOY.space, 5) for _ in range(3)]
    context = multiprocessing.get_context("fork")
    line, other_end = context.Pipe()
    child = context.Process(target=finish_together, args=(url, other_end), daemon=True)
    child.start()
    assert line.poll(60)
    assert line.recv() == 3
    child.kill()
    child.join()
    assert study.ended == 0
    assert Study.open("s", url, to_run=True).left(TOY.space, 5) == asked
