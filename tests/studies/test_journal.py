"""A journal stays whole: one writer at a time, nothing lost to a kill, a full disk or a stranger's file."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import filelock
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage

from search_spaces import InputError
from studies.journal import Journal, locked, open_journal


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def add_trial(storage: JournalStorage) -> int:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, study_name="small", load_if_exists=True, sampler=sampler)
    trial = study.ask()
    trial.suggest_float("rate", 0.0, 1.0)
    trial.report(0.5, step=1)
    study.tell(trial, 0.75)
    return trial.number


@pytest.fixture(scope="module")
def journal_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a small study writes."""
    path = tmp_path_factory.mktemp("journal") / "journal.log"
    storage = open_journal(path)
    for _ in range(3):
        add_trial(storage)
    return path.read_bytes()


@contextmanager
def journal_of(content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.log"
        path.write_bytes(content)
        yield path


def new_journal(path: Path) -> Journal:
    path.touch()
    return Journal(path)


def records(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# --- torn tails


@given(st.data())
def test_a_journal_cut_anywhere_opens_with_its_whole_lines_and_takes_a_trial(
    journal_bytes: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(journal_bytes)))
    whole = journal_bytes[: journal_bytes.rfind(b"\n", 0, cut) + 1]
    with journal_of(journal_bytes[:cut]) as path:
        storage = open_journal(path)
        assert path.read_bytes() == whole
        number = add_trial(storage)
        assert path.read_bytes().startswith(whole)
        trials = optuna.load_study(study_name="small", storage=open_journal(path)).trials
        assert len(trials) == number + 1
        assert trials[-1].value == 0.75


@given(st.binary(min_size=1).filter(lambda tail: b"\n" not in tail), st.sampled_from([b"", b"\n"]))
def test_a_last_line_that_is_no_record_is_cut_off(journal_bytes: bytes, tail: bytes, end: bytes) -> None:
    with journal_of(journal_bytes + tail + end) as path:
        assert add_trial(open_journal(path)) == 3
        assert path.read_bytes().startswith(journal_bytes)
        assert len(optuna.load_study(study_name="small", storage=open_journal(path)).trials) == 4


def test_a_torn_line_that_appears_while_a_study_runs_is_cut_off_before_the_next_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker_id":"killed here')
    assert add_trial(storage) == 1
    assert path.read_bytes().startswith(whole)
    assert len(records(path)) > len(whole.splitlines())
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: cut off 37 bytes of a record that a killed writer left unfinished"
    ]


def test_reading_leaves_out_what_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    torn = path.read_bytes() + b'{"op_code":4'
    path.write_bytes(torn)
    assert len(optuna.load_study(study_name="small", storage=storage).trials) == 1
    assert path.read_bytes() == torn


# --- files that are not ours, or not in order


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a shopping list\n", id="text"),
        pytest.param(b"no end of line", id="text without an end of line"),
        pytest.param(b'{"name": "settings"}\n{"op_code":1}\n', id="other JSON"),
        pytest.param(b"[1, 2]\n", id="a JSON list"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"\x00" * 64, id="zeros"),
        pytest.param(b"SQLite format 3\x00" + bytes(80), id="an SQLite file"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a journal"):
        open_journal(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"garbage\n", b"\xff\xfe\n", b"5\n", b'{"op_code":4,"wor{"op_code":5}\n'])
def test_damage_before_the_end_is_named_by_its_line_and_left_alone(
    tmp_path: Path, journal_bytes: bytes, damage: bytes
) -> None:
    lines = journal_bytes.splitlines(keepends=True)
    content = b"".join([*lines[:3], damage, *lines[3:]])
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged: line 4 is no record"):
        open_journal(path)
    assert path.read_bytes() == content


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        open_journal(tmp_path)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot use"):
        open_journal(tmp_path / "file" / "journal.log")


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder for a user to whom permissions apply, as they do not to root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        user, nobody = os.geteuid(), 65534
        if user == 0:
            os.chown(folder, nobody, -1)
            os.seteuid(nobody)
        try:
            yield folder
        finally:
            folder.chmod(0o777)
            os.seteuid(user)


def test_without_permission_a_journal_is_refused_for_writing_and_opens_for_reading() -> None:
    with without_privileges() as folder:
        path = folder / "journal.log"
        add_trial(open_journal(path))
        torn = path.read_bytes() + b'{"op_code":4'
        path.write_bytes(torn)
        path.chmod(0o444)
        folder.chmod(0o555)
        with pytest.raises(InputError, match=r"cannot use .*: Permission denied"):
            open_journal(path)
        storage = open_journal(path, for_reading=True)
        assert len(optuna.load_study(study_name="small", storage=storage).trials) == 1
        with pytest.raises(InputError, match=r"cannot write the study to .*: Permission denied"):
            add_trial(storage)
        path.chmod(0o000)
        with pytest.raises(InputError, match="Permission denied"):
            open_journal(path, for_reading=True)
        path.chmod(0o444)
        assert path.read_bytes() == torn


# --- the file goes, the disk fills


def test_a_journal_removed_under_a_study_does_not_come_back_without_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        add_trial(storage)
    assert not path.exists()


def test_a_record_that_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write the study"):
            add_trial(storage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert add_trial(storage) == 1


# --- one writer at a time


def can_be_locked(path: Path) -> bool:
    lock = filelock.FileLock(f"{path}.flock")
    try:
        with lock.acquire(timeout=0):
            return True
    except filelock.Timeout:
        return False


# Children are forked, as a new interpreter would spend seconds on imports. Newer Pythons warn of forking beside
# threads; these children only touch the journal.
FORK = multiprocessing.get_context("fork")
forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def answer(line: Connection) -> object:
    assert line.poll(60), "the child died"
    return line.recv()


def hold(path: Path, line: Connection) -> None:
    with locked(path):
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
    holder = FORK.Process(target=hold, args=(path, other_end))
    holder.start()
    assert answer(line) == "held"
    assert not can_be_locked(path)
    holder.kill()
    holder.join()
    assert can_be_locked(path)


def test_a_lock_is_free_after_an_error_under_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    with pytest.raises(ZeroDivisionError), locked(path):
        1 / 0  # noqa: B018 - only its error is wanted
    assert can_be_locked(path)


@forks
def test_two_processes_that_append_lose_and_mix_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "journal.log", 100
    lines = {writer: FORK.Pipe() for writer in "ab"}
    writers = [FORK.Process(target=append, args=(path, writer, count, lines[writer][1])) for writer in "ab"]
    for process in writers:
        process.start()
    for line, _ in lines.values():
        assert answer(line) == "ready"
    for line, _ in lines.values():
        line.send("go")
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0, 0]
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


def assert_in_order(path: Path, writers: str, count: int) -> None:
    written = [record for record in records(path) if isinstance(record, dict)]
    assert len(written) == count * len(writers)
    for writer in writers:
        assert [record["number"] for record in written if record["writer"] == writer] == list(range(count))


# --- other processes


def test_a_storage_survives_being_sent_to_another_process(tmp_path: Path) -> None:
    storage = open_journal(tmp_path / "journal.log")
    add_trial(storage)
    assert add_trial(pickle.loads(pickle.dumps(storage))) == 1


@forks
def test_a_journal_opened_before_a_fork_takes_records_of_both_sides(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "journal.log")
    logs = [{"op_code": 99, "writer": "child", "number": 0}]
    child = FORK.Process(target=journal.append_logs, args=(logs,))
    child.start()
    child.join()
    assert child.exitcode == 0
    journal.append_logs([{"op_code": 99, "writer": "parent", "number": 0}])
    assert [record["writer"] for record in journal.read_logs(0)] == ["child", "parent"]


# --- transactions


def without_times(path: Path) -> list[object]:
    names = ("worker_id", "datetime_start", "datetime_complete")
    return [{k: v for k, v in record.items() if k not in names} for record in records(path) if isinstance(record, dict)]


@contextmanager
def transaction(storage: JournalStorage) -> Iterator[None]:
    assert isinstance(storage._backend, Journal)
    with storage._backend.transaction():
        yield


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
    writer = FORK.Process(target=add_in_transaction, args=(path, other_end))
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
    lines = {writer: FORK.Pipe() for writer in "ab"}
    writers = [FORK.Process(target=append_batches, args=(path, writer, count, lines[writer][1])) for writer in "ab"]
    for process in writers:
        process.start()
    for line, _ in lines.values():
        assert answer(line) == "ready"
    for line, _ in lines.values():
        line.send("go")
    for process in writers:
        process.join()
    assert_in_order(path, "ab", count)
    batches = [record["writer"] for record in records(path) if isinstance(record, dict)]
    assert all(len(set(batches[start : start + 5])) == 1 for start in range(0, 2 * count, 5))
