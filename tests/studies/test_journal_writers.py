"""A journal has one writer at a time: processes and threads that append to it lose and mix nothing."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from studies.file_lock import JournalLock
from studies.journal import open_journal

from .journals import FORK, add_trial, answer, assert_in_order, can_be_locked, forks, new_journal, write_at_once

pytestmark = pytest.mark.usefixtures("quiet")


# --- one writer at a time


def hold(path: Path, line: Connection) -> None:
    with JournalLock(path).held():
        line.send("held")
        line.recv()


def append(path: Path, writer: str, count: int, line: Connection) -> None:
    journal = new_journal(path)
    line.send("ready")
    line.recv()
    for number in range(count):
        filling = "x" * (number * 37 % 5000)
        journal.append_logs([{"op_code": 99, "writer": writer, "number": number, "filling": filling}])


@forks
def test_a_killed_holder_lets_go_of_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    line, other_end = FORK.Pipe()
    holder = FORK.Process(target=hold, args=(path, other_end), daemon=True)
    holder.start()
    assert answer(line) == "held"
    assert not can_be_locked(path)
    holder.kill()
    holder.join()
    assert can_be_locked(path)


def test_a_lock_is_free_after_an_error_under_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    with pytest.raises(ZeroDivisionError), JournalLock(path).held():
        1 / 0  # noqa: B018 - only its error is wanted
    assert can_be_locked(path)


@forks
def test_two_processes_that_append_lose_and_mix_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "journal.log", 100
    exit_codes = write_at_once(append, path, "ab", count)
    assert exit_codes == [0, 0]
    assert_in_order(path, "ab", count)


def test_threads_that_append_lose_and_mix_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "journal.log", 40
    journal = new_journal(path)

    def append_all(writer: str) -> None:
        for number in range(count):
            journal.append_logs([{"op_code": 99, "writer": writer, "number": number}])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append_all, "abcd"))
    assert_in_order(path, "abcd", count)


# --- other processes


def test_a_storage_survives_being_sent_to_another_process(tmp_path: Path) -> None:
    storage = open_journal(tmp_path / "journal.log")
    add_trial(storage)
    assert add_trial(pickle.loads(pickle.dumps(storage))) == 1


@forks
def test_a_journal_opened_before_a_fork_takes_records_of_both_sides(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "journal.log")
    logs = [{"op_code": 99, "writer": "child", "number": 0}]
    child = FORK.Process(target=journal.append_logs, args=(logs,), daemon=True)
    child.start()
    child.join()
    assert child.exitcode == 0
    journal.append_logs([{"op_code": 99, "writer": "parent", "number": 0}])
    assert [record["writer"] for record in journal.read_logs(0)] == ["child", "parent"]
