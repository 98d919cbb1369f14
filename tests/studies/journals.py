"""Journals that tests write to, alone and from other processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import filelock
import optuna
import pytest
from optuna.storages import JournalStorage

from studies.journal import Journal


def add_trial(storage: JournalStorage) -> int:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, study_name="small", load_if_exists=True, sampler=sampler)
    trial = study.ask()
    trial.suggest_float("rate", 0.0, 1.0)
    trial.report(0.5, step=1)
    study.tell(trial, 0.75)
    return trial.number


def new_journal(path: Path) -> Journal:
    path.touch()
    return Journal(path)


def records(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def transaction(storage: JournalStorage) -> Iterator[None]:
    assert isinstance(storage._backend, Journal)
    with storage._backend.transaction():
        yield


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


def assert_in_order(path: Path, writers: str, count: int) -> None:
    written = [record for record in records(path) if isinstance(record, dict)]
    assert len(written) == count * len(writers)
    for writer in writers:
        assert [record["number"] for record in written if record["writer"] == writer] == list(range(count))


def write_at_once(target: Callable[..., None], path: Path, writers: str, count: int) -> list[int | None]:
    """Runs `target(path, writer, count, line)` in a process for each writer, all let go together; their exit codes."""
    lines = {writer: FORK.Pipe() for writer in writers}
    processes = [
        FORK.Process(target=target, args=(path, writer, count, lines[writer][1]), daemon=True) for writer in writers
    ]
    for process in processes:
        process.start()
    for line, _ in lines.values():
        assert answer(line) == "ready"
    for line, _ in lines.values():
        line.send("go")
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
