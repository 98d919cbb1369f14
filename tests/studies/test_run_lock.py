"""One process runs a study: on a file by a lock beside it, on a server by a lock that the server keeps."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine

from search_spaces import InputError
from studies.run_lock import FileRunLock, RunLock, ServerRunLock

from .clock import Clock
from .small_studies import a_study

DIALECTS = pytest.mark.parametrize("dialect", ["postgresql", "mysql"])


class Server:
    """What a server's advisory locks do, for connections of SQLite: each belongs to a connection and goes with it."""

    def __init__(self, file: Path) -> None:
        self.holders: dict[object, object] = {}
        self.file = file

    def engine(self) -> Engine:
        engine = sqlalchemy.create_engine(f"sqlite:///{self.file}")

        def connected(connection: sqlite3.Connection, _record: Any) -> None:
            def take(key: object, *_: object) -> int:
                return int(self.holders.setdefault(key, connection) is connection)

            def free(key: object) -> int:
                return int(self.holders.pop(key, None) is connection)

            for name, count, function in (
                ("pg_try_advisory_lock", 1, take),
                ("GET_LOCK", 2, take),
                ("pg_advisory_unlock", 1, free),
                ("RELEASE_LOCK", 1, free),
            ):
                connection.create_function(name, count, function)

        def closed(connection: Any, *_: object) -> None:
            for key in [key for key, holder in self.holders.items() if holder is connection]:
                del self.holders[key]

        sqlalchemy.event.listen(engine, "connect", connected)
        sqlalchemy.event.listen(engine, "close", closed)
        sqlalchemy.event.listen(engine, "invalidate", closed)
        return engine


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "server.db")


def lock_of(server: Server, dialect: str, study_id: int = 1, clock: Clock | None = None) -> ServerRunLock:
    return ServerRunLock(server.engine(), study_id, "s", dialect=dialect, patience=(clock or Clock()).patience([]))


def assert_one_at_a_time(one: RunLock, other: RunLock) -> None:
    assert not one.is_held()
    with one.held():
        assert one.is_held()
        assert other.is_held()
        with pytest.raises(InputError, match="study 's' is being run by another process"), other.held():
            pass
        assert one.is_held()
    assert not other.is_held()
    with other.held():
        assert one.is_held()


@DIALECTS
def test_a_server_s_study_is_run_by_one_process_wherever_it_is(server: Server, dialect: str) -> None:
    assert_one_at_a_time(lock_of(server, dialect), lock_of(server, dialect))


def test_a_file_s_study_is_run_by_one_process(tmp_path: Path) -> None:
    assert_one_at_a_time(FileRunLock(tmp_path / "s", "s"), FileRunLock(tmp_path / "s", "s"))


@DIALECTS
def test_studies_do_not_share_a_lock(server: Server, dialect: str) -> None:
    with lock_of(server, dialect).held():
        assert not lock_of(server, dialect, study_id=2).is_held()


@DIALECTS
def test_a_lock_whose_connection_broke_is_taken_again(server: Server, dialect: str) -> None:
    lock = lock_of(server, dialect)
    with lock.held():
        lock.renew()
        assert lock._connection is not None
        lock._connection.invalidate()
        assert server.holders == {}
        lock.renew()
        assert lock_of(server, dialect).is_held()


@DIALECTS
def test_where_another_process_took_the_lock_meanwhile_the_run_ends(server: Server, dialect: str) -> None:
    clock = Clock()
    lock, other = lock_of(server, dialect, clock=clock), lock_of(server, dialect)
    with lock.held():
        assert lock._connection is not None
        lock._connection.invalidate()
        with other.held(), pytest.raises(InputError, match="another process"):
            lock.renew()
    assert 60 <= clock.now < 70


def test_a_server_without_such_locks_is_refused(server: Server) -> None:
    with pytest.raises(InputError, match="of kind oracle: only PostgreSQL's and MySQL's"):
        lock_of(server, "oracle")


@pytest.mark.parametrize("part", ["", "trials"])
def test_a_study_s_folder_that_leads_elsewhere_is_refused(url: str, tmp_path: Path, part: str) -> None:
    study = a_study(url)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "trials" / "00000").mkdir(parents=True)
    link = study.folder / part
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere if not part else elsewhere / part)
    with pytest.raises(InputError, match="is a symbolic link"), study.running():
        pass
    assert [path.name for path in elsewhere.rglob("*")] == ["trials", "00000"]


def test_a_folder_that_cannot_be_made_is_one_line(url: str) -> None:
    study = a_study(url)
    study.folder.parent.write_text("a file in its place")
    with pytest.raises(InputError, match=r"cannot lock .*run.lock: .*; name another --storage"), study.running():
        pass
    assert not study.is_running()
