"""A PostgreSQL server of the tests' own, on this machine and for as long as they run."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from studies.database import Database

_START_SECONDS = 30.0
# The machine is not to lose its power; a server that is killed keeps what it committed.
_FAST = ("fsync=off", "full_page_writes=off", "max_connections=60")
_numbers = count()


@dataclass
class Server:
    """A server with databases that are empty at first."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{_user()}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of one."""
        name = f"studies{next(_numbers)}"
        engine = sqlalchemy.create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def start(self) -> None:
        options = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}", *_FAST]
        settings = [part for option in options for part in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary("postgres"), "-D", str(self.folder / "data"), *settings],
                stdout=subprocess.DEVNULL,
                stderr=log,
                **_as_somebody(),
            )
        end = time.monotonic() + _START_SECONDS
        engine = sqlalchemy.create_engine(self.url())
        while True:
            try:
                engine.connect().close()
                break
            except sqlalchemy.exc.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)
        engine.dispose()

    def kill(self) -> None:
        """As a machine that loses its power does; what was committed is there when it starts again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


def closed_in_the_end() -> Iterator[None]:
    """For a fixture: connections to databases are closed then, not whenever their objects go."""
    made: list[Database] = []
    begin = Database.__init__

    def note(self: Database, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "__init__", note)
        yield
    for database in made:
        database.remove_session()
        database.engine.dispose()


def server_or_skip() -> Iterator[Server]:
    """For a fixture; skips where there is no PostgreSQL, or no driver for it."""
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    try:
        _binary("initdb")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    with _server() as server:
        yield server


@contextmanager
def _server() -> Iterator[Server]:
    # In the short path that a socket's name has room for.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(folder, _free_port())
    options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
    try:
        owner = pwd.getpwnam(_user())
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        command = [_binary("initdb"), "-D", str(folder / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, **_as_somebody())
        server.start()
        yield server
    finally:
        with suppress(AssertionError):
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        # Debian keeps all but the clients out of the path.
        there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if not there:
            raise FileNotFoundError(f"no PostgreSQL here: {name} is missing")
        found = str(there[-1])
    return found


def _user() -> str:
    """The server refuses to run as root."""
    return pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "postgres"


def _as_somebody() -> dict[str, Any]:
    return {} if os.geteuid() else {"user": _user(), "group": pwd.getpwnam(_user()).pw_gid, "cwd": "/"}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
