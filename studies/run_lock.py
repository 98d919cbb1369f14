"""One process runs a study: a lock that dies with its holder, on this machine or, for a server's study, anywhere."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import filelock
import optuna
from optuna.storages import BaseStorage
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from search_spaces import InputError

from .database import database_of, is_temporary, one_line
from .patience import Patience
from .storage import study_names

# Somebody who asks whether the lock is held holds it for a moment.
_MOMENT_SECONDS = 0.5


class BusyError(InputError):
    """Another process has the lock."""


class RunLock(Protocol):
    def held(self) -> AbstractContextManager[None]:
        """Raises InputError where it can't be made, and `BusyError` where another process holds it."""

    def is_held(self) -> bool:
        """Whether some process holds it, this one included."""


class FileRunLock:
    """A lock of the operating system on a file in the study's folder."""

    def __init__(self, folder: Path, study: str) -> None:
        self._folder = folder
        self._path = folder / "run.lock"
        self._study = study

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            refuse_links(self._folder)
            self._folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666))
            lock = filelock.FileLock(self._path)
            lock.acquire(timeout=_MOMENT_SECONDS, poll_interval=0.02)
        except filelock.Timeout:
            raise busy(self._study) from None
        except (OSError, NotImplementedError) as problem:
            raise InputError(f"cannot lock {self._path}: {_reason(problem)}; name another --storage") from None
        try:
            yield
        finally:
            lock.release()

    def is_held(self) -> bool:
        try:
            # For reading: one who may only look can ask too.
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False


class ServerRunLock:
    """A lock that the database's server keeps for one connection, and lets go of when that ends.

    `dialect` is SQLAlchemy's name of the server's kind, `study_id` the study's number in the database.
    """

    def __init__(
        self, engine: Engine, study_id: int, study: str, *, dialect: str, patience: Patience, purpose: str = ""
    ) -> None:
        digest = hashlib.blake2b(f"pomona {engine.url.database} {study_id}{purpose}".encode(), digest_size=8).digest()
        self._key: int | str = int.from_bytes(digest, "big", signed=True)
        self._engine = engine
        self._study = study
        self._patience = patience
        self._connection: Connection | None = None
        self._checked = 0.0
        if dialect == "postgresql":
            self._take, self._free = "SELECT pg_try_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"
        elif dialect in ("mysql", "mariadb"):
            self._key = f"pomona {digest.hex()}"
            self._take, self._free = "SELECT GET_LOCK(:key, 0)", "SELECT RELEASE_LOCK(:key)"
        else:
            raise InputError(
                f"cannot run study {study!r} in a database of kind {dialect}: only PostgreSQL's and MySQL's locks are "
                "known here; use one of them, or a file"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        for _ in Patience(limit=_MOMENT_SECONDS, clock=self._patience.clock, sleep=self._patience.sleep).pauses(
            str, shortest=0.1, longest=0.1
        ):
            if self._taken_or_error():
                break
        else:
            raise busy(self._study)
        try:
            yield
        finally:
            self._let_go()

    @contextmanager
    def waited_for(self, longest: float) -> Iterator[None]:
        """Holds it as soon as nobody else does, for moments. Who holds it for longer than `longest` has stopped, and
        goes without it from then on, as whoever waits does."""
        for waited in self._patience.pauses(
            lambda: f"study {self._study}: waiting for another driver", shortest=0.005, longest=0.1
        ):
            if waited >= longest:
                break
            try:
                if self._taken():
                    break
            except SQLAlchemyError as problem:
                if not is_temporary(problem):
                    raise InputError(
                        f"cannot lock study {self._study!r}: {one_line(problem, self._engine.url)}"
                    ) from None
        try:
            yield
        finally:
            self._free_or_drop()

    def is_held(self) -> bool:
        if self._connection is not None:
            return True
        if not self._taken_or_error():
            return True
        self._let_go()
        return False

    def renew(self) -> None:
        """Asks whether the lock's own connection still lives, and takes the lock again where it does not.

        Raises:
            InputError: another process has it by now.
        """
        if self._connection is None:
            return
        with contextlib.suppress(SQLAlchemyError):
            self._connection.execute(text("SELECT 1"))
            return
        self._drop()
        # The server may not have noticed yet that our old connection, which has the lock, is gone.
        for _ in Patience(clock=self._patience.clock, sleep=self._patience.sleep, check=self._patience.check).pauses(
            lambda: f"study {self._study}: waiting for the database to let go of its lock", shortest=0.2, longest=5.0
        ):
            with contextlib.suppress(SQLAlchemyError):
                if self._taken():
                    return
        raise busy(self._study)

    def _taken_or_error(self) -> bool:
        try:
            return self._taken()
        except SQLAlchemyError as problem:
            raise InputError(f"cannot lock study {self._study!r}: {one_line(problem, self._engine.url)}") from None

    def _taken(self) -> bool:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            if connection.execute(text(self._take), {"key": self._key}).scalar():
                self._connection = connection
                return True
        finally:
            if self._connection is not connection:
                connection.close()
        return False

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.execute(text(self._free), {"key": self._key})
        self._drop()

    def _free_or_drop(self) -> None:
        """Lets go of the lock and keeps the connection for the next time, if all is well."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.execute(text(self._free), {"key": self._key})
            connection.close()
            self._connection = None
        except SQLAlchemyError:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                # Ended, not given back to the pool: with it goes the lock, whatever became of the call before.
                connection.invalidate()
                connection.close()


def server_lock(study: optuna.Study, patience: Patience, purpose: str = "") -> ServerRunLock:
    """That of a study in a database on a server; one for each `purpose`."""
    engine = database_of(study._storage).engine
    return ServerRunLock(
        engine, study._study_id, study.study_name, dialect=engine.dialect.name, patience=patience, purpose=purpose
    )


def lock_to_make(name: str, storage: BaseStorage, patience: Patience) -> ServerRunLock:
    """That of a name in a database on a server: a study that is not there yet has no number."""
    engine = database_of(storage).engine
    return ServerRunLock(engine, 0, name, dialect=engine.dialect.name, patience=patience, purpose=f" making {name}")


@contextmanager
def file_waited_for(path: Path, longest: float, patience: Patience) -> Iterator[None]:
    """As `ServerRunLock.waited_for`, among the processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    for waited in patience.pauses(lambda: f"waiting for another driver ({path})", shortest=0.005, longest=0.1):
        if waited >= longest:
            break
        with contextlib.suppress(filelock.Timeout):
            lock.acquire(timeout=0)
            break
    try:
        yield
    finally:
        lock.release()


@contextmanager
def held_to_run(lock: FileRunLock | ServerRunLock | None, study: optuna.Study, patience: Patience) -> Iterator[None]:
    """Holds the lock, if any, while a study runs, and says what other programs do to it meanwhile.

    Raises:
        InputError: another process has the lock, another program ended a trial under way, or the study is gone.
    """
    name = study.study_name
    with contextlib.nullcontext() if lock is None else lock.held():
        if isinstance(lock, ServerRunLock):
            patience.keep_alive = lock.renew
        try:
            yield
        except optuna.exceptions.UpdateFinishedTrialError:
            raise InputError(
                f"another program ended a trial of study {name!r} that was under way: resume the study"
            ) from None
        except KeyError:
            if name in study_names(study._storage):
                raise
            raise InputError(f"study {name!r} was deleted while it ran") from None
        finally:
            patience.reset()


def refuse_links(folder: Path) -> None:
    """Raises InputError where a study's folder leads elsewhere: what is deleted in it would be deleted there."""
    for part in (folder, folder / "trials"):
        if part.is_symlink():
            raise InputError(f"{part} is a symbolic link: pomona deletes in it, so it has to be a folder of its own")


def busy(study: str) -> BusyError:
    return BusyError(f"study {study!r} is being run by another process: wait for it, or stop it")


def _reason(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.errno not in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP):
        return str(problem.strerror)
    return "this file system has no locks"
