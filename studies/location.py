"""Where a storage lies: what people write after --storage, made into a journal file or the URL of a database."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from search_spaces import InputError

# Below the current folder.
DEFAULT_STORAGE = Path("results/studies/journal.log")
STORAGE_VARIABLE = "POMONA_STORAGE"

_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")
_KINDS = "a path, journal://PATH, sqlite:///FILE, postgresql://USER@HOST/NAME or mysql://USER@HOST/NAME"
_SCHEMES = ("journal", "sqlite", "file", "postgres", "postgresql", "mysql", "mariadb")
_SECRET_OPTIONS = ("password", "passwd", "pwd", "sslpassword", "token")
_JOURNAL_START = b'{"op_code":'


@dataclass(frozen=True)
class JournalFile:
    path: Path


@dataclass(frozen=True)
class DatabaseAt:
    """`may_make_folders` where the user named a path and no URL: then folders are made as for a journal."""

    url: URL
    may_make_folders: bool = False

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def is_in_memory(self) -> bool:
        return self.is_sqlite and self.file is None

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for a server and for a database in memory."""
        name = self.url.database
        if not self.is_sqlite or not name or ":memory:" in name or self.url.query.get("mode") == "memory":
            return None
        return Path(str(name))


Location = JournalFile | DatabaseAt


def named_storage(text: str | None) -> str | None:
    """What is meant where nothing was named: `$POMONA_STORAGE`; None for the default journal."""
    return text if text is not None else os.environ.get(STORAGE_VARIABLE) or None


def location_of(text: str | None) -> Location:
    """Where the storage that `text` names lies; nothing is opened, and of a file only its first bytes are looked at.

    Without a `text` it is what `$POMONA_STORAGE` says, or `DEFAULT_STORAGE`.

    Raises:
        InputError: it is neither a path nor the URL of something that can hold studies.
    """
    text = named_storage(text)
    if text is None:
        return JournalFile(DEFAULT_STORAGE)
    if "\0" in text or not text.strip():
        raise InputError(f"a storage can't be named {text!r}: expected {_KINDS}")
    scheme, colons, rest = _taken_apart(text)
    if scheme == "file":
        raise InputError(f"file:// is no kind of storage: name the path itself, as --storage {_path_in(rest)}")
    if colons == ":":
        raise InputError(f"{_shown_text(text)} is no storage: write {_complete(scheme, rest)}")
    if scheme == "journal":
        return JournalFile(_file_named(rest))
    if scheme:
        return _database(scheme, text)
    if text == ":memory:":
        raise InputError("a database in memory is named sqlite://, and is gone with the process; a path keeps studies")
    path = _file_named(text)
    if path.suffix.lower() in _SQLITE_ENDINGS and not _holds_journal(path):
        return DatabaseAt(_round_trip(URL.create("sqlite", database=str(path))), may_make_folders=True)
    return JournalFile(path)


def shown_storage(text: str | None) -> str:
    """The storage for a message: without passwords, and quoted where a shell needs it."""
    named = named_storage(text)
    if named is None:
        return str(DEFAULT_STORAGE)
    return shlex.quote(without_password(named))


def without_password(text: str) -> str:
    """`text`, with *** for the passwords of a URL of a database; anything else is left as it is."""
    if "://" not in text:
        return text
    try:
        return shown_url(make_url(text))
    except (ArgumentError, ValueError):
        return re.sub(r"//.*@", "//***@", text)


def storage_option(text: str | None) -> str:
    """` --storage ...` for a command that is shown, without passwords; empty where it is not needed, as nothing was
    named or the variable says the same."""
    if text is None or text == os.environ.get(STORAGE_VARIABLE):
        return ""
    return f" --storage {shlex.quote(without_password(text))}"


def shown_url(url: URL) -> str:
    """`url` for a message, without its passwords."""
    if url.get_backend_name() == "sqlite" and not url.password and not url.query:
        return f"sqlite:///{url.database}" if url.database else "sqlite://"
    hidden = {name: "***" for name in url.query if name.lower() in _SECRET_OPTIONS}
    return url.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def secrets_of(url: URL) -> list[str]:
    """The passwords in `url`, longest first."""
    options = [value for name, value in url.query.items() if name.lower() in _SECRET_OPTIONS]
    flat = [part for value in options for part in ((value,) if isinstance(value, str) else value)]
    # One or two letters would be found everywhere.
    return sorted({secret for secret in (str(url.password or ""), *flat) if len(secret) > 2}, key=len, reverse=True)


def _taken_apart(text: str) -> tuple[str, str, str]:
    """(scheme in small letters, what parts it from the rest, the rest); no scheme where `text` is a path."""
    if match := re.match(r"([A-Za-z][A-Za-z0-9_+.-]*)://", text):
        return match[1].lower(), "://", text[match.end() :]
    match = re.match(r"([A-Za-z]+)(?:\+[A-Za-z0-9]+)?:", text)
    # A file may have a colon in its name; one that begins as a URL does is a slip.
    if match and match[1].lower() in _SCHEMES and not _is_there(text):
        return match[1].lower(), ":", text[match.end() :]
    if "://" in text:
        raise InputError(f"cannot read the storage URL: expected {_KINDS}")
    return "", "", text


def _complete(scheme: str, rest: str) -> str:
    if scheme in ("sqlite", "journal"):
        slashes = "sqlite:///" if scheme == "sqlite" else "journal://"
        return f"{slashes}{rest.lstrip('/') if not rest.startswith('/') else rest}"
    return f"{'postgresql' if scheme == 'postgres' else scheme}://USER@HOST/NAME"


def _path_in(rest: str) -> str:
    return shlex.quote(rest if rest.startswith("/") or not rest else rest.removeprefix("localhost"))


def _shown_text(text: str) -> str:
    return re.sub(r":[^:@]*@", ":***@", text)


def _file_named(text: str) -> Path:
    if not text:
        raise InputError(f"the storage's path is empty: expected {_KINDS}")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"cannot use {text} as storage: there is no such user's folder") from None
    with refused_in_one_line(path):
        is_folder = text.endswith("/") or path.is_dir()
    if is_folder:
        inside = shlex.quote(str(path / "journal.log"))
        raise InputError(f"cannot use {path} as storage: a folder is not a file; name one in it, as {inside}")
    return path


def _database(scheme: str, text: str) -> DatabaseAt:
    if scheme.split("+")[0] == "postgres":
        raise InputError("write postgresql:// instead of postgres://")
    try:
        url = make_url(scheme + text[len(scheme) :])
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise InputError("cannot read the storage URL: expected a path or dialect://user:password@host/name") from None
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        url.get_dialect()
    except NoSuchModuleError:
        raise InputError(f"unknown kind of storage {url.drivername!r}: expected {_KINDS}") from None
    except ImportError:
        pass  # said when it is opened
    return DatabaseAt(url)


def _sqlite(url: URL) -> DatabaseAt:
    if url.host:
        raise InputError(
            f"{shown_url(url)} names no file: write sqlite:///{url.host}{f'/{url.database}' if url.database else ''}, "
            "with three slashes, or four and the path from the root"
        )
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        url = url.set(database=str(_file_named(url.database)))
    return DatabaseAt(_round_trip(url))


def _round_trip(url: URL) -> URL:
    """Optuna takes URLs as text only."""
    if make_url(url.render_as_string(hide_password=False)).database != url.database:
        raise InputError(f"cannot use {url.database} as storage: SQLite's files can't have ? in their names here")
    return url


def _is_there(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:
        return False


@contextmanager
def refused_in_one_line(path: Path) -> Iterator[None]:
    """Inside, what the file system refuses (a name that is too long, a folder without permission) is an `InputError`
    that names the storage."""
    try:
        yield
    except OSError as problem:
        raise InputError(f"cannot use {path} as storage: {problem.strerror}") from None


def _holds_journal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_JOURNAL_START)) == _JOURNAL_START
    except OSError:
        return False
