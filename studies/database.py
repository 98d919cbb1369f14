"""Studies in a database: what is wrong with the connection is waited for, or said in one line."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import optuna
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from search_spaces import InputError

from .batch import Batch
from .location import DatabaseAt, secrets_of, shown_url
from .new_trials import Creation
from .patience import Patience

_T = TypeVar("_T")

# SQLite waits so long inside one call, where no Ctrl-C gets through; longer waits are ours.
_SQLITE_SECONDS = 2
_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 60.0
BEAT_SECONDS = 30
GRACE_SECONDS = 120
"""Without a beat of its driver's for so long, a trial has lost it; see `Drivers`."""
# What ends a connection attempt to a machine that is gone, and finds out about one that went.
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_DRIVER_OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg2": _POSTGRESQL_OPTIONS,
    "psycopg": _POSTGRESQL_OPTIONS,
    "pymysql": {"connect_timeout": 10},
    "mysqldb": {"connect_timeout": 10},
}
_PACKAGES = {
    "psycopg2": "pip install psycopg2-binary",
    "psycopg": "pip install 'pomona[postgres]'",
    "mysqldb": "pip install mysqlclient; or pip install pymysql and write mysql+pymysql://",
    "pymysql": "pip install pymysql",
    "asyncpg": "write postgresql:// and pip install 'pomona[postgres]'",
    "oracledb": "pip install oracledb",
    "pyodbc": "pip install pyodbc",
}
# MySQL's numbers for a user, a password or a database that is not there: waiting would not make them.
_MYSQL_REFUSALS = (1044, 1045, 1049, 1142)
# PostgreSQL's classes of the same.
_POSTGRESQL_REFUSALS = ("28", "3D", "42")


class Database(RDBStorage):
    """Optuna's storage in a database, whose every call is repeated while the connection is lost or the file locked.

    Raises `InputError` where waiting is no use (a full disk, a table that is gone) or lasted too long, and whatever
    `patience.check` raises meanwhile. A call whose connection broke just as it was committed may be done twice: then a
    trial is left that runs nowhere, which is found like one that lost its driver.
    """

    def __init__(self, location: DatabaseAt, patience: Patience) -> None:
        self.patience = patience
        self.location = location
        self._kept_alive = patience.clock()
        self._batch: Batch | None = None
        self._creation = Creation(self)
        self.dropped: Callable[[int], None] = lambda _trial_id: None
        """Told, by its number here, of each trial that others ended in the middle of a transaction of ours."""
        url = location.url
        options: dict[str, Any] = {"connect_args": _connect_args(url)}
        if not location.is_sqlite:
            # A trial may train for hours between two calls: longer than servers and firewalls keep a connection.
            options["pool_pre_ping"] = True
        # Optuna fills in templates.
        text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        super().__init__(text, engine_kwargs=options)
        if (begin := _BEGINNINGS.get(url.get_backend_name())) is not None:
            event.listen(self.engine, "connect", functools.partial(_execute, begin))
            # What was connected so far was not told.
            self.engine.dispose()

    def patiently(self, call: Callable[[bool], _T]) -> _T:
        """What `call` returns; it is told whether it was called before. See the class for what may be raised."""
        shown = shown_url(self.location.url)
        problem: BaseException | None = None
        pauses = self.patience.pauses(
            lambda: f"{shown}: {one_line(problem, self.location.url)}; trying again (Ctrl-C stops)",
            shortest=_SHORTEST_PAUSE_SECONDS,
            longest=_LONGEST_PAUSE_SECONDS,
            note_after=0.0,
        )
        for _ in pauses:
            try:
                result = call(problem is not None)
            except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
                if not is_temporary(error):
                    if _is_ours(error):
                        raise
                    raise InputError(f"cannot use {shown}: {one_line(error, self.location.url)}") from None
                problem = error
                continue
            self._keep_alive(now=problem is not None)
            return result
        raise InputError(f"cannot use {shown}: {one_line(problem, self.location.url)}") from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes all that is written to trials inside at its end, at once; see `Batch`. An exception ends it likewise.

        Inside another one this is none of its own. Databases but PostgreSQL and SQLite write everything as it comes.
        """
        if self._batch is not None or not Batch.is_for(self):
            yield
            return
        batch = self._batch = Batch(
            self, self.patiently, self._new_trial, self._set_state, lambda trial_id: self.dropped(trial_id)
        )
        try:
            yield
        finally:
            self._batch = None
            batch.write()

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        instead = self.in_batch("_create_new_trial") or self._new_trial
        found: FrozenTrial = instead(study_id, template_trial)
        return found

    def _new_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        return self.patiently(lambda _again: self._creation.new_trial(study_id, template))

    def in_batch(self, name: str) -> Callable[..., Any] | None:
        """What stands for one of Optuna's calls within a transaction."""
        return None if self._batch is None else self._batch.answers(name)

    def _keep_alive(self, *, now: bool) -> None:
        if now or self.patience.clock() - self._kept_alive > _KEEP_ALIVE_SECONDS:
            self._kept_alive = self.patience.clock()
            self.patience.keep_alive()

    def record_first_heartbeat(self, trial_id: int) -> None:
        """A beat that has to come through; see `patiently`."""
        self.patiently(lambda _again: RDBStorage.record_heartbeat(self, trial_id))

    def stale_trial_ids(self, study_id: int) -> list[int]:
        """Trials under way that nobody beat for in the last `GRACE_SECONDS`, though somebody did before."""
        # Not set for good: Optuna would warn of it whoever asks for a trial.
        self.heartbeat_interval, self.grace_period = BEAT_SECONDS, GRACE_SECONDS
        try:
            return self.patiently(lambda _again: RDBStorage._get_stale_trial_ids(self, study_id))
        finally:
            self.heartbeat_interval = self.grace_period = None

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        if (instead := self.in_batch("set_trial_state_values")) is not None:
            return bool(instead(trial_id, state, values))
        return self._set_state(trial_id, state, values)

    def _set_state(self, trial_id: int, state: TrialState, values: Any) -> bool:
        def call(again: bool) -> bool:
            # The first try may have come through though its answer did not.
            if again and RDBStorage.get_trial(self, trial_id).state == state:
                return True
            return RDBStorage.set_trial_state_values(self, trial_id, state, values)

        return self.patiently(call)

    def create_new_study(self, directions: Any, study_name: str | None = None) -> int:
        def call(again: bool) -> int:
            try:
                return RDBStorage.create_new_study(self, directions, study_name)
            except optuna.exceptions.DuplicatedStudyError:
                if again and study_name is not None:
                    return RDBStorage.get_study_id_from_name(self, study_name)
                raise

        return self.patiently(call)


# What each new connection begins with.
#
# Optuna keeps beats in the local time of the session that writes them. But drivers may be told different time zones,
# and where clocks are set forward in spring, all beats are an hour old at once.
#
# A process that is stopped within a transaction would hold its rows for as long, and with them every other driver that
# finds its trials lost: the server ends such a session in half of their grace.
_BEGINNINGS = {
    "postgresql": (
        "SET SESSION TIME ZONE 'UTC'",
        f"SET SESSION idle_in_transaction_session_timeout = {500 * GRACE_SECONDS}",
    ),
    "mysql": ("SET SESSION time_zone = '+00:00'",),
}


def _execute(statements: Sequence[str], connection: Any, _record: object) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.commit()


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: Database, *arguments: Any, **options: Any) -> Any:
        if (instead := self.in_batch(name)) is not None:
            return instead(*arguments, **options)
        return self.patiently(lambda _again: method(self, *arguments, **options))

    return call


# Those with an underscore are what Optuna's cache before the database calls.
for _name in (
    "delete_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_set_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "_get_best_trial_id",
    "_get_trials",
):
    setattr(Database, _name, _patient(_name))


def open_database(location: DatabaseAt, *, writable: bool, patience: Patience) -> Database:
    """Raises InputError where the database can't be reached or used, or its driver is missing."""
    url = location.url
    shown = shown_url(url)
    file = location.file
    if file is not None:
        if writable and file.exists() and not os.access(file, os.W_OK):
            raise InputError(f"cannot use {shown} as storage: {file} may not be written")
        if writable and location.may_make_folders:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise InputError(f"cannot use {shown} as storage: {problem.strerror}") from None
    last: BaseException | None = None

    def what() -> str:
        return f"{shown}: {one_line(last, url)}; trying again (Ctrl-C stops)"

    for _ in patience.pauses(what, shortest=_SHORTEST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS, note_after=0.0):
        try:
            return Database(location, patience)
        except ImportError as missing:
            raise InputError(_missing_driver(url, missing)) from None
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, ValueError, KeyError) as error:
            # A server that is not there yet is said at once; a locked file is somebody's who is at work.
            if not (location.is_sqlite and is_temporary(error)):
                raise InputError(f"cannot use {shown} as storage: {one_line(error, url)}") from None
            last = error
    raise InputError(f"cannot use {shown} as storage: {one_line(last, url)}")


def database_of(storage: BaseStorage) -> Database:
    """The database below Optuna's cache; `storage` must be in one."""
    inner = storage._backend if isinstance(storage, _CachedStorage) else storage
    assert isinstance(inner, Database)
    return inner


def is_temporary(error: BaseException) -> bool:
    """Whether waiting may help: a lost connection, a server that restarts, a locked SQLite file."""
    cause = _database_error(error)
    if not isinstance(cause, DBAPIError):
        return False
    if cause.connection_invalidated:
        return True
    if not isinstance(cause, OperationalError | InterfaceError):
        return False
    original = cause.orig
    if type(original).__module__.startswith("sqlite3"):
        return "locked" in str(original)
    state = str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")
    number = next(iter(getattr(original, "args", ())), None)
    return not state.startswith(_POSTGRESQL_REFUSALS) and number not in _MYSQL_REFUSALS


def one_line(error: BaseException | None, url: URL) -> str:
    """What the driver said, in one line and without the passwords of `url`."""
    cause = _database_error(error)
    original = cause.orig if isinstance(cause, DBAPIError) and cause.orig is not None else cause
    text = " ".join(str(original).split("\n")[:2]) if original is not None else ""
    if type(original).__module__.startswith("sqlite3") and "locked" in text:
        text += " by another program"
    if text == "disk I/O error":
        text += " (is the disk full?)"
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return " ".join(text.split())


def _database_error(error: BaseException | None) -> BaseException | None:
    """The database's own error below those that Optuna wraps around it."""
    while error is not None and not isinstance(error, DBAPIError):
        below = error.__cause__
        if isinstance(error, PendingRollbackError):
            # Optuna takes a connection that was lost while it read trials for a query that was too long, and asks
            # again. What that comes to says nothing; what it was handling does.
            below = error.__context__
        if below is None:
            break
        error = below
    return error


def _is_ours(error: BaseException) -> bool:
    """Whether the call was wrong and not the connection: a bug, which keeps its traceback."""
    cause = _database_error(error)
    return not isinstance(cause, DBAPIError) or isinstance(cause, IntegrityError | DataError)


def _connect_args(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": _SQLITE_SECONDS}
    try:
        driver = url.get_driver_name()
    except ImportError:
        return {}
    return {name: value for name, value in _DRIVER_OPTIONS.get(driver, {}).items() if name not in url.query}


def _missing_driver(url: URL, missing: ImportError) -> str:
    try:
        driver = url.get_driver_name()
    except ImportError:
        driver = ""
    module = getattr(missing.__cause__ or missing, "name", None)
    install = _PACKAGES.get(driver) or (f"pip install {module}" if module else "install it")
    said = one_line(missing.__cause__ or missing, url)
    return f"{shown_url(url)} needs a database driver that is not installed: {said} ({install})"
