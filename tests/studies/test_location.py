"""What people write after --storage means one thing, or is one line that says what to write."""

from __future__ import annotations

import functools
from pathlib import Path

import optuna
import pytest

from search_spaces import InputError
from studies.journal import open_journal
from studies.location import (
    DEFAULT_STORAGE,
    DatabaseAt,
    JournalFile,
    location_of,
    named_storage,
    shown_storage,
    storage_option,
    without_password,
)
from studies.storage import (
    is_in_memory,
    is_on_server,
    open_storage,
    output_folder,
    refuse_unusable,
    storage_exists,
)

from .journals import without_privileges


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("POMONA_STORAGE", raising=False)


@pytest.mark.parametrize("name", ["Foo.DB", "a b/foo.sqlite", "~/fr{ü}chte.SQLite3"])
def test_a_path_with_sqlite_s_ending_is_an_sqlite_file(name: str) -> None:
    optuna.create_study(study_name="s", storage=open_storage(name))
    path = Path(name).expanduser()
    assert path.read_bytes().startswith(b"SQLite format 3")
    assert output_folder(name) == path.with_name(path.name + ".studies")
    assert optuna.get_all_study_names(open_storage(name, require_existing=True)) == ["s"]


@pytest.mark.parametrize("name", ["foo.log", "foo", "foo.db.log", "journal://foo.db", "a:b", "foodb"])
def test_other_paths_are_journals(name: str) -> None:
    optuna.create_study(study_name="s", storage=open_storage(name))
    assert Path(name.removeprefix("journal://")).read_bytes().startswith(b'{"op_code":')


def test_a_journal_that_has_sqlite_s_ending_is_read_on() -> None:
    optuna.create_study(study_name="s", storage=open_journal(Path("old.db")))
    assert location_of("old.db") == JournalFile(Path("old.db"))
    assert optuna.get_all_study_names(open_storage("old.db")) == ["s"]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "expected a path"),
        ("  ", "expected a path"),
        ("nul\0", "expected a path"),
        (".", "./journal.log|journal.log"),
        ("folder/", "folder/journal.log"),
        ("journal://", "is empty"),
        ("journal:foo.log", "write journal://foo.log"),
        ("sqlite:foo.db", "write sqlite:///foo.db"),
        ("sqlite:/foo.db", "write sqlite:////foo.db"),
        ("sqlite://foo.db", "write sqlite:///foo.db"),
        ("sqlite://folder/foo.db", "write sqlite:///folder/foo.db"),
        (":memory:", "sqlite://"),
        ("file:///tmp/foo.log", "--storage /tmp/foo.log"),
        ("file:foo.log", "--storage foo.log"),
        ("~nobody-of-that-name/foo.log", "no such user"),
        ("postgres://me@host/name", "write postgresql://"),
        ("postgresql:host/name", "write postgresql://USER@HOST/NAME"),
        ("redis://host", "unknown kind of storage 'redis': expected a path"),
        ("postgresql+nosuch://host/name", "unknown kind of storage 'postgresql"),
        ("https://host/name", "unknown kind of storage 'https'"),
        ("postgresql://me:secret@host:port/name", "cannot read the storage URL"),
        ("1http://x", "cannot read the storage URL"),
    ],
)
def test_a_slip_is_one_line_that_says_what_to_write(text: str, advice: str, tmp_path: Path) -> None:
    for use in (location_of, open_storage, refuse_unusable):
        with pytest.raises(InputError, match=advice) as raised:
            use(text)
        assert "\n" not in str(raised.value)
        assert "secret" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_what_lies_in_memory_is_known_and_has_no_folder_that_stays(text: str, tmp_path: Path) -> None:
    assert is_in_memory(text)
    assert not is_on_server(text)
    assert tmp_path not in output_folder(text).parents
    with pytest.raises(InputError, match="in memory begins empty"):
        open_storage(text, require_existing=True)


def test_the_environment_names_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert location_of(None) == JournalFile(DEFAULT_STORAGE)
    monkeypatch.setenv("POMONA_STORAGE", "")
    assert location_of(None) == JournalFile(DEFAULT_STORAGE)
    monkeypatch.setenv("POMONA_STORAGE", "mine/foo.db")
    assert named_storage(None) == "mine/foo.db"
    assert isinstance(location_of(None), DatabaseAt)
    assert output_folder(None) == output_folder("mine/foo.db") == Path("mine/foo.db.studies")
    assert location_of("other.log") == JournalFile(Path("other.log"))
    optuna.create_study(study_name="s", storage=open_storage())
    assert optuna.get_all_study_names(open_storage("mine/foo.db")) == ["s"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@host/name", "postgresql://me:***@host/name"),
        ("mysql+pymysql://host/name?password=secret&x=1", "mysql+pymysql://host/name?password=***&x=1"),
        ("postgresql://me:secret@host:port/name", "postgresql://***@host:port/name"),
        ("--storage=postgresql://me:secret@host/name", "--storage=postgresql://***@host/name"),
        ("a/path: with:everything@in it", "a/path: with:everything@in it"),
    ],
)
def test_passwords_are_not_shown(text: str, expected: str) -> None:
    assert without_password(text) == expected
    assert "secret" not in shown_storage(text)


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("mysql://me:secret@host/name", "pip install mysqlclient"),
        ("mysql+pymysql://me:secret@host/name", "pip install pymysql"),
        ("mssql+pyodbc://me:secret@host/name", "pip install pyodbc"),
        ("postgresql+psycopg2://me:secret@host/name", "pip install psycopg2-binary"),
        ("postgresql+psycopg://me:secret@host/name", r"pip install 'pomona\[postgres\]'"),
        ("postgresql://me:secret@host/name", r"pip install ('pomona\[postgres\]|psycopg)"),
    ],
)
def test_a_missing_driver_is_named_with_its_package(url: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("MySQLdb", "pymysql", "pyodbc", "psycopg2", "psycopg"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(InputError, match=package) as raised:
        open_storage(url)
    assert "secret" not in str(raised.value)


def test_the_option_of_a_command_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:secret@host/name"
    assert storage_option(None) == ""
    assert storage_option("my journal.log") == " --storage 'my journal.log'"
    assert storage_option(url) == " --storage 'postgresql://me:***@host/name'"
    monkeypatch.setenv("POMONA_STORAGE", url)
    assert storage_option(url) == ""


LOOKING = (
    location_of,
    storage_exists,
    refuse_unusable,
    open_storage,
    functools.partial(open_storage, require_existing=True),
)


@pytest.mark.parametrize("form", ["{}", "{}.db", "sqlite:///{}", "journal://{}"])
def test_a_name_that_no_file_can_have_is_one_line(form: str) -> None:
    for look in LOOKING:
        with pytest.raises(InputError, match=r"^cannot use \S*x{300}\S* as storage: File name too long$"):
            look(form.format("x" * 300))


def test_a_folder_that_nobody_may_enter_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with without_privileges() as folder:
        inside = folder / "inside"
        inside.mkdir()
        inside.chmod(0)
        for look in LOOKING:
            with pytest.raises(InputError, match=r"^cannot use \S+/inside/j.log as storage: Permission denied$"):
                look(str(inside / "j.log"))
        # The default one is no different.
        monkeypatch.setattr("studies.location.DEFAULT_STORAGE", inside / "j.log")
        for look in LOOKING[1:]:
            with pytest.raises(InputError, match=r"/inside/j.log as storage: Permission denied$"):
                look(None)


def test_a_slip_that_is_too_long_for_a_file_is_still_a_slip() -> None:
    with pytest.raises(InputError, match="write sqlite:///xxx"):
        location_of("sqlite:" + "x" * 300)
