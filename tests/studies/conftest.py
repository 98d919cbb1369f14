"""What several tests of studies need: a quiet Optuna, and a place for a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from .postgres import Server, closed_in_the_end, server_or_skip

# Its asserts would show no values otherwise.
pytest.register_assert_rewrite("tests.studies.journals")


@pytest.fixture(scope="module")
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "journal.log")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server of the module's own."""
    yield from server_or_skip()


@pytest.fixture
def databases_closed() -> Iterator[None]:
    yield from closed_in_the_end()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, databases_closed: None
) -> str:
    """The place of studies that several drivers run: a file, or a database on a server."""
    # There the studies' files lie below the working directory.
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        return str(tmp_path / "studies.db")
    server: Server = request.getfixturevalue("postgres")
    return server.new_database()
