"""Every kind of storage keeps a study alike; what cannot be opened is one sentence, and looking creates nothing."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
import pytest

from search_spaces import InputError
from studies.storage import DEFAULT_STORAGE, open_storage, output_folder, storage_exists, study_names, together

KINDS = pytest.mark.parametrize("form", ["{}/journal.log", "journal://{}/deep/er/j.log", "sqlite:///{}/studies.db"])


def run_small_study(storage: optuna.storages.BaseStorage, name: str) -> list[optuna.trial.FrozenTrial]:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", sampler=sampler)
    study.set_user_attr("note", {"n": 334})
    study.enqueue_trial({"rate": 0.25, "kind": "round"})
    for value in (0.5, None):
        trial = study.ask()
        trial.suggest_float("rate", 0.0, 1.0)
        trial.suggest_categorical("kind", ["round", 2, True])
        trial.set_user_attr("reason", "as it went")
        trial.report(0.125, step=3)
        study.tell(trial, value, state=None if value else optuna.trial.TrialState.FAIL)
    return study.trials


@KINDS
def test_a_study_is_there_unchanged_when_its_storage_is_opened_again(tmp_path: Path, form: str) -> None:
    url = form.format(tmp_path)
    written = run_small_study(open_storage(url), "small")
    study = optuna.load_study(study_name="small", storage=open_storage(url, require_existing=True))
    assert study.trials == written
    assert study.user_attrs == {"note": {"n": 334}}
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


@KINDS
def test_a_study_written_together_is_the_same(tmp_path: Path, form: str) -> None:
    url = form.format(tmp_path)
    storage = open_storage(url)
    with together(storage):
        written = run_small_study(storage, "together")
    apart = run_small_study(storage, "apart")
    assert optuna.load_study(study_name="together", storage=open_storage(url)).trials == written
    for one, other in zip(written, apart, strict=True):
        assert (one.params, one.values, one.state, one.user_attrs, one.intermediate_values) == (
            (other.params, other.values, other.state, other.user_attrs, other.intermediate_values)
        )


@KINDS
def test_studies_are_listed_in_the_order_of_their_making(tmp_path: Path, form: str) -> None:
    storage = open_storage(form.format(tmp_path))
    assert study_names(storage) == []
    for name in ("second", "first"):
        run_small_study(storage, name)
    assert study_names(storage) == ["second", "first"]


@KINDS
def test_a_storage_that_is_not_there_is_not_made_by_looking(tmp_path: Path, form: str) -> None:
    url = form.format(tmp_path)
    assert not storage_exists(url)
    with pytest.raises(InputError, match=r"no studies at .*: run `pomona search` first"):
        open_storage(url, require_existing=True)
    assert list(tmp_path.iterdir()) == []
    open_storage(url)
    assert storage_exists(url)


def test_by_default_the_storage_lies_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not storage_exists()
    run_small_study(open_storage(), "small")
    assert (tmp_path / DEFAULT_STORAGE).is_file()
    assert study_names(open_storage(require_existing=True)) == ["small"]


def test_every_storage_has_a_folder_of_its_own_for_output(tmp_path: Path) -> None:
    urls = [
        None,
        f"{tmp_path}/a.log",
        f"{tmp_path}/b.log",
        f"sqlite:///{tmp_path}/a.db",
        "postgresql://user:secret@host/a",
        "postgresql://user:secret@host/b",
        "mysql://user:secret@host/b",
        "sqlite://",
    ]
    folders = [output_folder(url) for url in urls]
    assert folders[0] == DEFAULT_STORAGE.parent
    assert len(set(folders)) == len(urls)
    assert not any("secret" in str(folder) for folder in folders)


def test_one_storage_has_one_folder_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        output_folder(f"{tmp_path}/a.log") == output_folder(f"journal://{tmp_path}/a.log") == output_folder("~/a.log")
    )
    default = output_folder(None)
    assert default == output_folder(str(DEFAULT_STORAGE))
    assert default == output_folder(f"./{DEFAULT_STORAGE}") == output_folder(str(DEFAULT_STORAGE.absolute()))


def test_a_journal_may_be_named_by_path_home_or_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run_small_study(open_storage("~/journal.log"), "small")
    assert study_names(open_storage(f"journal://{tmp_path}/journal.log", require_existing=True)) == ["small"]
    monkeypatch.chdir(tmp_path)
    assert study_names(open_storage("journal://journal.log", require_existing=True)) == ["small"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("sqlite:///{}/missing/studies.db", "unable to open database file", id="no such folder"),
        pytest.param("sqlite:///{}/text", "file is not a database", id="not a database"),
        pytest.param("{}/text", "is not a journal", id="not a journal"),
        pytest.param("{}/studies", "name it as sqlite:///", id="an SQLite file named as a path"),
        pytest.param("{}", "is not a file", id="a folder"),
        pytest.param("nosuch://host/name", "nosuch", id="an unknown kind of database"),
        pytest.param("://", "cannot read the storage URL", id="not a URL"),
        pytest.param("sqlite://host:port/name", "cannot read the storage URL", id="a port that is no number"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_line_and_left_alone(tmp_path: Path, url: str, message: str) -> None:
    (tmp_path / "text").write_text("a shopping list\n" * 100)
    open_storage(f"sqlite:///{tmp_path}/studies")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for require_existing in (False, True):
        with pytest.raises(InputError) as raised:
            open_storage(url.format(tmp_path), require_existing=require_existing)
        assert "\n" not in str(raised.value)
        if not require_existing:
            assert message in str(raised.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_driver_that_is_not_installed_is_named_and_a_password_is_not() -> None:
    # Oracle's driver is no dependency of anything here.
    with pytest.raises(InputError, match=r"driver that is not installed: No module named 'cx_Oracle'") as raised:
        open_storage("oracle+cx_oracle://user:secret@localhost/name")
    assert "secret" not in str(raised.value)


def test_a_database_that_may_not_be_written_opens_for_looking_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    run_small_study(open_storage(url), "small")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match="may not be written"):
        open_storage(url)
    assert study_names(open_storage(url, require_existing=True)) == ["small"]


def test_optuna_is_quiet_once_a_storage_is_open(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    run_small_study(open_storage(str(tmp_path / "journal.log")), "small")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
