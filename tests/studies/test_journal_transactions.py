"""A transaction of a journal is written as a whole or not at all, and shows its writer what the file will hold."""

from __future__ import annotations

import os
import resource
import tempfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from studies.journal import open_journal

from .journals import (
    FORK,
    add_trial,
    answer,
    assert_in_order,
    can_be_locked,
    forks,
    new_journal,
    records,
    transaction,
    write_at_once,
)

pytestmark = pytest.mark.usefixtures("quiet")


def without_times(path: Path) -> list[object]:
    names = ("worker_id", "datetime_start", "datetime_complete")
    return [{k: v for k, v in record.items() if k not in names} for record in records(path) if isinstance(record, dict)]


def test_a_transaction_leaves_the_same_records_as_single_writes_in_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single, whole = (open_journal(tmp_path / name) for name in ("single.log", "whole.log"))
    for _ in range(3):
        add_trial(single)
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    with transaction(whole):
        for number in range(3):
            # What was written is there for the writer, though not for others.
            assert add_trial(whole) == number
        assert (tmp_path / "whole.log").read_bytes() == b""
    assert len(waits) == 1
    assert without_times(tmp_path / "whole.log") == without_times(tmp_path / "single.log")


def test_what_a_transaction_shows_is_what_the_file_will_hold(tmp_path: Path) -> None:
    storage = open_journal(tmp_path / "journal.log")
    with transaction(storage):
        study = optuna.create_study(storage=storage, study_name="small")
        kept = {1: ("a", "tuple")}
        study.set_user_attr("kept", kept)
        kept[1] = ("changed", "later")
        inside = study.user_attrs
    assert inside == {"kept": {"1": ["a", "tuple"]}}
    assert optuna.load_study(study_name="small", storage=open_journal(tmp_path / "journal.log")).user_attrs == inside


def test_a_transaction_inside_another_is_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    with transaction(storage):
        with transaction(storage):
            add_trial(storage)
        assert path.read_bytes() == b""
        assert add_trial(storage) == 1
    assert len(optuna.load_study(study_name="small", storage=open_journal(path)).trials) == 2
    assert can_be_locked(path)


def test_an_error_ends_a_transaction_with_what_was_written_before_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)

    def write_and_fail() -> None:
        with transaction(storage):
            add_trial(storage)
            raise KeyError("in between")

    with pytest.raises(KeyError, match="in between"):
        write_and_fail()
    assert can_be_locked(path)
    assert add_trial(storage) == 1
    assert len(optuna.load_study(study_name="small", storage=open_journal(path)).trials) == 2


def test_an_empty_transaction_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    path.unlink()
    with transaction(storage):
        pass
    assert not path.exists()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=8))
def test_writers_with_and_without_transactions_agree(turns: list[tuple[int, int]]) -> None:
    """In each turn one of three storages writes some trials: at once, or one by one where they are none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.log"
        storages = [open_journal(path) for _ in range(3)]
        written = 0
        for writer, count in turns:
            if count:
                with transaction(storages[writer]):
                    numbers = [add_trial(storages[writer]) for _ in range(count)]
            else:
                numbers = [add_trial(storages[writer])]
            assert numbers == list(range(written, written + len(numbers)))
            written += len(numbers)
        if turns:
            views = [optuna.load_study(study_name="small", storage=s).trials for s in (*storages, open_journal(path))]
            assert views == [views[0]] * 4
            assert len(views[0]) == written


def test_a_torn_line_is_cut_off_before_a_transaction_s_records(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    path.write_bytes(path.read_bytes() + b'{"op_code":4')
    with transaction(storage):
        assert add_trial(storage) == 1
    assert add_trial(storage) == 2
    assert len(optuna.load_study(study_name="small", storage=open_journal(path)).trials) == 3


def test_a_transaction_that_does_not_fit_leaves_no_trace_and_ends_the_use_of_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write the study"), transaction(storage):
            add_trial(storage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    # In memory there is a trial that the file has not: nobody may go on from there.
    for use in (
        lambda: add_trial(storage),
        lambda: storage.get_all_studies(),
        lambda: transaction(storage).__enter__(),
    ):
        with pytest.raises(InputError, match="open the study again"):
            use()
    assert add_trial(open_journal(path)) == 1


def test_a_journal_removed_within_a_transaction_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)

    def write_and_remove() -> None:
        with transaction(storage):
            add_trial(storage)
            path.unlink()

    with pytest.raises(InputError, match="No such file"):
        write_and_remove()
    assert not path.exists()


def test_a_thread_that_writes_during_a_transaction_neither_waits_nor_loses_anything(tmp_path: Path) -> None:
    storage = open_journal(tmp_path / "journal.log")
    study = optuna.create_study(storage=storage, study_name="small")
    count = 20

    def write(thread: int) -> None:
        for number in range(count):
            if thread % 2:
                with transaction(storage):
                    study.set_user_attr(f"{thread}-{number}", number)
                    study.set_user_attr(f"{thread}-{number}", number + 1)
            else:
                study.set_user_attr(f"{thread}-{number}", number + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    expected = {f"{thread}-{number}": number + 1 for thread in range(4) for number in range(count)}
    assert study.user_attrs == expected
    assert optuna.load_study(study_name="small", storage=open_journal(tmp_path / "journal.log")).user_attrs == expected


def add_in_transaction(path: Path, line: Connection) -> None:
    storage = open_journal(path)
    with transaction(storage):
        line.send(add_trial(storage))
        line.recv()


@forks
def test_a_kill_within_a_transaction_is_as_if_it_had_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    before = path.read_bytes()
    line, other_end = FORK.Pipe()
    writer = FORK.Process(target=add_in_transaction, args=(path, other_end), daemon=True)
    writer.start()
    assert answer(line) == 1
    assert not can_be_locked(path)
    writer.kill()
    writer.join()
    assert path.read_bytes() == before
    assert add_trial(storage) == 1


def append_batches(path: Path, writer: str, count: int, line: Connection) -> None:
    journal = new_journal(path)
    line.send("ready")
    line.recv()
    for number in range(0, count, 5):
        with journal.transaction():
            for part in range(5):
                journal.append_logs([{"op_code": 99, "writer": writer, "number": number + part}])


@forks
def test_transactions_of_two_processes_are_not_mixed(tmp_path: Path) -> None:
    path, count = tmp_path / "journal.log", 100
    exit_codes = write_at_once(append_batches, path, "ab", count)
    assert exit_codes == [0, 0]
    assert_in_order(path, "ab", count)
    batches = [record["writer"] for record in records(path) if isinstance(record, dict)]
    assert all(len(set(batches[start : start + 5])) == 1 for start in range(0, 2 * count, 5))
