"""Where studies are kept: a journal file by default, or any database that Optuna knows."""

from __future__ import annotations

import functools
import re
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, _CachedStorage
from sqlalchemy.engine import URL

from search_spaces import InputError

from .database import Database, open_database
from .journal import Journal, open_journal, refuse_foreign
from .location import DEFAULT_STORAGE, JournalFile, location_of, refused_in_one_line, shown_storage
from .patience import Patience


def open_storage(
    url: str | None = None, *, require_existing: bool = False, patience: Patience | None = None
) -> BaseStorage:
    """The storage at `url`: a journal file for a path or `journal://PATH`, else a database as SQLAlchemy names it.

    A path that ends in `.db`, `.sqlite` or `.sqlite3` is SQLite's file, unless a journal lies there. Without a `url` it
    is what `$POMONA_STORAGE` says, or `DEFAULT_STORAGE`. `require_existing` is for commands that only look: nothing is
    created where nothing is, and a storage that may be read but not written will do. `patience` is how it waits for
    others that write.

    Raises:
        InputError: the storage is missing though required, is of another kind, or can't be reached or written.
    """
    # Progress and results are ours to print; Optuna's lines about every trial would come between.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    location = location_of(url)
    if require_existing and not storage_exists(url):
        if is_in_memory(url):
            raise InputError(
                f"no studies at {shown_storage(url)}: a database in memory begins empty and is gone with its process; "
                "name a file with --storage"
            )
        raise InputError(f"no studies at {_file(url)}: run `pomona search` first, or name them with --storage")
    if isinstance(location, JournalFile):
        return open_journal(location.path, for_reading=require_existing, patience=patience)
    return open_database(location, writable=not require_existing, patience=patience or Patience())


def refuse_unusable(url: str | None = None) -> None:
    """Says at once, before anything slow, what opening the storage for writing would say; nothing is left behind.

    Raises:
        InputError: no file can be written there, or the file is none that holds studies.
    """
    location = location_of(url)
    path = _file(url)
    if path is None:
        return
    with refused_in_one_line(path):
        if isinstance(location, JournalFile):
            refuse_foreign(path)
        folder = next((above for above in path.absolute().parents if above.exists()), path.parent)
        # Asking for permissions is not enough: nobody may make files below /proc, root included.
        with tempfile.TemporaryFile(dir=folder):
            pass


def storage_exists(url: str | None = None) -> bool:
    """Whether there is a file at `url`; of a database server, which only opening can tell, this says yes.

    Raises:
        InputError: nobody may look there, or `url` names no storage.
    """
    path = _file(url)
    if path is None:
        return not is_in_memory(url)
    with refused_in_one_line(path):
        return path.exists()


def is_in_memory(url: str | None = None) -> bool:
    """Whether the storage is gone with the process that made it."""
    location = location_of(url)
    return not isinstance(location, JournalFile) and location.is_in_memory


def is_on_server(url: str | None = None) -> bool:
    """Whether processes on other machines may use the storage too."""
    return _file(url) is None and not is_in_memory(url)


def output_folder(url: str | None = None) -> Path:
    """Where the studies of a storage keep their files, in a folder each: apart for every storage.

    Beside the storage's file, or below the default one's folder where the storage is a server. What belongs to a
    database in memory goes with the process too.
    """
    location = location_of(url)
    path = _file(url)
    # However it is spelled: who names it is the same user, and the lock of a study that runs lies in this folder.
    if path is not None and path.resolve() == DEFAULT_STORAGE.resolve():
        return DEFAULT_STORAGE.parent
    if path is not None:
        return path.with_name(path.name + ".studies")
    assert not isinstance(location, JournalFile)
    return _temporary_folder() if location.is_in_memory else DEFAULT_STORAGE.parent / _server_folder(location.url)


def together(storage: BaseStorage) -> AbstractContextManager[None]:
    """Puts all writes inside into one; see `Journal.transaction` and `Database.transaction`."""
    if isinstance(storage, JournalStorage) and isinstance(storage._backend, Journal):
        return storage._backend.transaction()
    if isinstance(storage, _CachedStorage) and isinstance(storage._backend, Database):
        return storage._backend.transaction()
    return nullcontext()


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the studies in `storage`, oldest first."""
    return optuna.get_all_study_names(storage)


def _file(url: str | None) -> Path | None:
    """The file that a storage consists of; None for a server and for a database in memory."""
    location = location_of(url)
    return location.path if isinstance(location, JournalFile) else location.file


def _server_folder(url: URL) -> str:
    host = (url.host or "local") + (f"-{url.port}" if url.port else "")
    return re.sub(r"[^\w.-]", "_", f"{url.get_backend_name()}-{host}-{url.database or 'studies'}")


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pomona-")


def _temporary_folder() -> Path:
    return Path(_temporary().name)
