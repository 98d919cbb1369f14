"""Where studies are kept: a journal file by default, or any database that Optuna knows."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from search_spaces import InputError

from .journal import Journal, open_journal

# Below the current folder.
DEFAULT_STORAGE = Path("results/studies/journal.log")

_JOURNAL = "journal://"
_SQLITE_PATIENCE_SECONDS = 60


def open_storage(url: str | None = None, *, require_existing: bool = False) -> BaseStorage:
    """The storage at `url`: a journal file for a path or `journal://PATH`, else a database as SQLAlchemy names it.

    Without a `url` it is `DEFAULT_STORAGE`. `require_existing` is for commands that only look: nothing is created where
    nothing is, and a storage that may be read but not written will do.

    Raises:
        InputError: the storage is missing though required, is of another kind, or can't be reached or written.
    """
    # Progress and results are ours to print; Optuna's lines about every trial would come between.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if require_existing and not storage_exists(url):
        raise InputError(f"no studies at {_file(url)}: run `pomona search` first, or name them with --storage")
    if (path := _journal_file(url)) is not None:
        return open_journal(path, for_reading=require_existing)
    assert url is not None
    return _open_database(_parsed(url), writable=not require_existing)


def storage_exists(url: str | None = None) -> bool:
    """Whether there is a file at `url`; of a database server, which only opening can tell, this says yes."""
    path = _file(url)
    return path is None or path.exists()


def output_folder(url: str | None = None) -> Path:
    """Where the studies of a storage keep their files, in a folder each: apart for every storage.

    Beside the storage's file, or below the default one's folder where the storage is a server.
    """
    path = _file(url)
    if path == DEFAULT_STORAGE:
        return path.parent
    if path is not None:
        return path.with_name(path.name + ".studies")
    server = _parsed(url or "")
    return (
        DEFAULT_STORAGE.parent / f"{server.get_backend_name()}-{server.host or 'local'}-{server.database or 'studies'}"
    )


def together(storage: BaseStorage) -> AbstractContextManager[None]:
    """Puts all writes inside into one where `storage` is a journal, see `Journal.transaction`; else it does nothing."""
    if isinstance(storage, JournalStorage) and isinstance(storage._backend, Journal):
        return storage._backend.transaction()
    return nullcontext()


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the studies in `storage`, oldest first."""
    return optuna.get_all_study_names(storage)


def _file(url: str | None) -> Path | None:
    """The file that a storage consists of; None for a server."""
    if (path := _journal_file(url)) is not None:
        return path
    parsed = _parsed(url or "")
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def _journal_file(url: str | None) -> Path | None:
    if url is None:
        return DEFAULT_STORAGE
    if url.startswith(_JOURNAL):
        return Path(url.removeprefix(_JOURNAL)).expanduser()
    return None if "://" in url else Path(url).expanduser()


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise InputError("cannot read the storage URL: expected a path or dialect://user:password@host/name") from None


def _open_database(url: URL, *, writable: bool) -> RDBStorage:
    shown = url.render_as_string(hide_password=True)
    options = {}
    if url.get_backend_name() == "sqlite":
        file = url.database or ""
        if writable and os.path.exists(file) and not os.access(file, os.W_OK):
            raise InputError(f"cannot use {shown} as storage: {file} may not be written")
        # Several workers may write at once; SQLite by itself gives up after 5 seconds.
        options = {"connect_args": {"timeout": _SQLITE_PATIENCE_SECONDS}}
    try:
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
    except ImportError as problem:
        raise InputError(
            f"{shown} needs a database driver that is not installed: {_first_line(problem.__cause__ or problem)}"
        ) from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, ValueError) as problem:
        raise InputError(f"cannot use {shown} as storage: {_first_line(problem)}") from None


def _first_line(problem: BaseException) -> str:
    cause = problem.orig if isinstance(problem, DBAPIError) and problem.orig is not None else problem
    return str(cause).strip().partition("\n")[0]
