"""A database that is locked or away is waited for with a note; one that fails for good is one line."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

import studies.database
from search_spaces import InputError
from studies import Interrupted, Study
from studies.creation import create_study, is_whole
from studies.database import Database, is_temporary, one_line, open_database
from studies.location import DatabaseAt, location_of
from studies.storage import open_storage
from studies.study import Study as StudyClass

from ..toys import TOY
from .clock import Clock
from .settings import settings_for
from .small_studies import result

pytestmark = pytest.mark.usefixtures("quiet", "impatient_sqlite")


@pytest.fixture(scope="module")
def impatient_sqlite() -> Iterator[None]:
    """Neither SQLite's own patience nor Optuna's sleeping: what is tested is ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies.database, "_SQLITE_SECONDS", 0)
        patch.setattr("optuna.storages._rdb.storage.random.random", lambda: 0.0)
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "studies.db"


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(file: Path, clock: Clock, notes: list[str], limit: float | None = None) -> Database:
    location = location_of(str(file))
    assert isinstance(location, DatabaseAt)
    return open_database(location, writable=True, patience=clock.patience(notes, limit))


def a_study(storage: Database) -> optuna.Study:
    return create_study("s", storage, settings_for(TOY), TOY.recipe)


@contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield connection
    finally:
        connection.close()


# --- locked


def test_a_locked_file_is_waited_for_with_a_note_and_nothing_is_lost(
    file: Path, clock: Clock, notes: list[str]
) -> None:
    storage = opened(file, clock, notes)
    study = a_study(storage)
    with locked(file) as other:
        storage.patience.check = lambda: other.close() if clock.now > 75 else None
        trial = study.ask()
        trial.report(0.5, 1)
    study.tell(trial, 0.75)
    assert 75 < clock.now < 120
    assert len(notes) == 2
    assert notes[0] == f"sqlite:///{file}: database is locked by another program; trying again (Ctrl-C stops)"
    (kept,) = optuna.load_study(study_name="s", storage=f"sqlite:///{file}").trials
    assert (kept.value, kept.intermediate_values) == (0.75, {1: 0.5})


def test_what_stops_a_run_ends_the_wait(file: Path, clock: Clock, notes: list[str]) -> None:
    storage = opened(file, clock, notes)
    study = a_study(storage)

    def stop() -> None:
        raise Interrupted("asked to")

    storage.patience.check = stop
    with locked(file), pytest.raises(Interrupted, match="asked to"):
        study.ask()


@pytest.mark.parametrize("is_new", [True, False])
def test_outside_a_run_a_file_that_stays_locked_is_one_line(
    file: Path, clock: Clock, notes: list[str], is_new: bool
) -> None:
    if not is_new:
        a_study(opened(file, clock, notes))
    with locked(file), pytest.raises(InputError) as raised:
        opened(file, clock, notes, limit=60.0)
    assert str(raised.value) == f"cannot use sqlite:///{file} as storage: database is locked by another program"
    assert 60 <= clock.now < 95
    assert notes


def test_while_a_study_waits_what_is_shown_needs_no_storage(file: Path, clock: Clock, notes: list[str]) -> None:
    storage = opened(file, clock, notes)
    study = StudyClass(a_study(storage), settings_for(TOY), str(file), storage.patience)
    study.recording.finish(next(study.proposals(TOY.space, 3)).number, result())
    assert study.ended == 1
    shown: list[object] = []
    with locked(file) as other:

        def check() -> None:
            shown.append((study.ended, study.counts(), study.best() is not None))
            other.close()

        study.wait_with(check)
        study.ask(TOY.space, 3)
    assert (1, {"complete": 1}, True) in shown


# --- lost connections


class Lost(sqlite3.OperationalError):
    """As a driver says it when the server went away."""


def lose_connections(storage: Database, times: int, error: Callable[[], Exception]) -> list[str]:
    """The next `times` statements break, and what they were."""
    broken: list[str] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if len(broken) < times:
            broken.append(statement)
            raise error()

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", before)
    return broken


def gone() -> Exception:
    error = sqlalchemy.exc.OperationalError("SELECT 1", {}, Lost("server closed the connection unexpectedly"))
    error.connection_invalidated = True
    return error


def lost_while_trials_were_read() -> Exception:
    """What comes of it: Optuna asks again within the transaction that has no connection any more."""
    try:
        try:
            raise gone()
        except sqlalchemy.exc.OperationalError:
            raise sqlalchemy.exc.PendingRollbackError("Can't reconnect", code="8s2b")  # noqa: B904
    except sqlalchemy.exc.SQLAlchemyError as error:
        problem = optuna.exceptions.StorageInternalError("An exception is raised during the commit.")
        problem.__cause__ = error
        return problem


def test_a_connection_that_was_lost_while_trials_were_read_is_waited_for() -> None:
    error = lost_while_trials_were_read()
    assert is_temporary(error)
    assert one_line(error, sqlalchemy.engine.make_url("sqlite://")) == "server closed the connection unexpectedly"


def run_with_losses(losses: list[int]) -> list[object]:
    """A study of four trials; before each, so many statements of those to come are told to break."""
    clock = Clock()
    location = location_of("sqlite://")
    assert isinstance(location, DatabaseAt)
    storage = open_database(location, writable=True, patience=clock.patience([]))
    study = StudyClass(a_study(storage), settings_for(TOY), "sqlite://", storage.patience)
    for loss in losses:
        lose_connections(storage, loss, gone)
        proposal = study.ask(TOY.space, 4)
        assert proposal is not None
        study.recording.report(proposal.number, 1, 0.25)
        study.recording.finish(proposal.number, result())
    assert (clock.now > 0) == any(losses)
    return [(r.number, r.state, r.config, r.value, r.curve) for r in study.records()]


def test_a_study_with_lost_connections_is_the_same_as_one_without() -> None:
    assert run_with_losses([1, 3, 7, 2]) == run_with_losses([0, 0, 0, 0])


def test_the_run_lock_is_looked_at_after_a_loss_and_every_minute(file: Path, clock: Clock, notes: list[str]) -> None:
    storage = opened(file, clock, notes)
    study = a_study(storage)
    renewed: list[float] = []
    storage.patience.keep_alive = lambda: renewed.append(clock.now)
    study.set_user_attr("a", 1)
    assert renewed == []
    lose_connections(storage, 1, gone)
    study.set_user_attr("a", 2)
    assert len(renewed) == 1
    clock.now += 61
    study.set_user_attr("a", 3)
    assert len(renewed) == 2


def test_a_trial_whose_end_was_written_though_its_answer_was_lost_has_ended(
    file: Path, clock: Clock, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(file, clock, notes)
    study = a_study(storage)
    trial = study.ask()
    real = optuna.storages.RDBStorage.set_trial_state_values
    calls: list[int] = []

    def write_and_lose(self: Any, *arguments: Any, **options: Any) -> bool:
        done = real(self, *arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            raise gone()
        return done

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_trial_state_values", write_and_lose)
    study.tell(trial, 0.5)
    assert [kept.value for kept in study.trials] == [0.5]


# --- errors that stay


def test_a_full_disk_is_one_line(file: Path, clock: Clock, notes: list[str]) -> None:
    study = a_study(opened(file, clock, notes))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, limits[1]))
    try:
        with pytest.raises(
            InputError, match=rf"cannot use sqlite:///{file}: (database or disk is full|disk I/O error)"
        ):
            study.set_user_attr("long", "x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert clock.now == 0
    study.set_user_attr("short", "x")


def test_tables_that_are_gone_are_one_line(file: Path, clock: Clock, notes: list[str]) -> None:
    study = a_study(opened(file, clock, notes))
    sqlite3.connect(file).execute("DROP TABLE trials")
    with pytest.raises(InputError, match="no such table: trials"):
        study.ask()


def test_a_bug_keeps_its_traceback(file: Path, clock: Clock, notes: list[str]) -> None:
    storage = opened(file, clock, notes)
    lose_connections(storage, 1, lambda: sqlalchemy.exc.DataError("INSERT", {}, ValueError("value too long")))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.get_all_studies()


@pytest.mark.parametrize(
    ("original", "temporary"),
    [
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.OperationalError("attempt to write a readonly database"), False),
        (RuntimeError("could not connect to server: Connection refused"), True),
        (RuntimeError(2013, "Lost connection to MySQL server during query"), True),
        (RuntimeError(1045, "Access denied for user"), False),
    ],
)
def test_which_errors_are_waited_for(original: Exception, temporary: bool) -> None:
    assert is_temporary(sqlalchemy.exc.OperationalError("SELECT 1", {}, original)) == temporary


def test_what_a_driver_says_is_one_line_without_the_password() -> None:
    url = sqlalchemy.make_url("postgresql://me:hush-hush@host/name?sslpassword=secret")
    said = RuntimeError("connection to 'host' with password hush-hush failed:\n\tsslpassword=secret is wrong\n")
    line = one_line(sqlalchemy.exc.OperationalError("SELECT 1", {}, said), url)
    assert line == "connection to 'host' with password *** failed: sslpassword=*** is wrong"


# --- making a study


@pytest.mark.parametrize(("ending", "after"), [("db", 1), ("db", 2), ("db", 9), ("db", 10), ("log", 1), ("log", 10)])
def test_a_study_torn_while_it_was_made_does_not_block_its_name(tmp_path: Path, ending: str, after: int) -> None:
    url = str(tmp_path / f"studies.{ending}")
    storage = open_storage(url)
    writes: list[str] = []

    def dying(name: str) -> Callable[..., Any]:
        real = getattr(storage, name)

        def write(*arguments: Any, **options: Any) -> Any:
            if len(writes) == after:
                raise KeyboardInterrupt
            writes.append(name)
            return real(*arguments, **options)

        return write

    for name in ("create_new_study", "set_study_user_attr", "set_study_system_attr", "create_new_trial"):
        setattr(storage, name, dying(name))
    try:
        create_study("s", storage, settings_for(TOY), TOY.recipe)
    except KeyboardInterrupt:
        assert not is_whole("s", open_storage(url))
    study = (
        Study.open("s", url)
        if is_whole("s", open_storage(url))
        else StudyClass.create("s", url, settings_for(TOY), TOY.recipe)
    )
    assert is_whole("s", open_storage(url))
    assert next(study.proposals(TOY.space, 2)).config == TOY.recipe
    assert len(study._study.trials) == 1


def test_a_study_of_somebody_else_keeps_its_name(tmp_path: Path) -> None:
    url = str(tmp_path / "journal.log")
    theirs = optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize")
    theirs.set_user_attr("owner", "they")
    with pytest.raises(InputError, match="there is a study s already"):
        Study.create("s", url, settings_for(TOY), TOY.recipe)
    assert theirs.user_attrs == {"owner": "they"}
