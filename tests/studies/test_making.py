"""Processes that make studies at the same time: each has its own, whole and as it asked for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from search_spaces import InputError
from studies import SearchRequest, Study, creation, prepare_search, run_lock, search
from studies.creation import NameTakenError
from studies.settings import Settings
from studies.storage import open_storage, study_names

from ..toys import TOY
from .settings import settings_for

SETTINGS = settings_for(TOY)


def made(url: str, seed: int) -> Study:
    return Study.create("s", url, replace(SETTINGS, seed=seed), TOY.recipe)


@pytest.fixture(autouse=True)
def _asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds a lock held does not wait for a moment: here nobody lets go of it meanwhile."""
    monkeypatch.setattr(run_lock, "_MOMENT_SECONDS", 0.0)


def test_a_study_that_a_living_process_makes_is_not_completed_by_another(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, refused = creation.shown_settings, list[InputError]()

    def while_another_tries(settings: Settings) -> dict[str, object]:
        if settings.seed == 1:
            with pytest.raises(NameTakenError, match="there is a study s already") as problem:
                made(database, seed=2)
            refused.append(problem.value)
        return shown(settings)

    monkeypatch.setattr(creation, "shown_settings", while_another_tries)
    assert made(database, seed=1).settings.seed == 1
    assert len(refused) == 1
    assert Study.open("s", database).settings.seed == 1
    # And afterwards, as it is there.
    with pytest.raises(NameTakenError):
        made(database, seed=2)


def test_who_finds_a_name_taken_does_not_keep_it_from_running(database: str) -> None:
    study = made(database, seed=1)
    with study.running(), pytest.raises(NameTakenError):
        made(database, seed=2)
    with study.running():
        pass


@pytest.mark.parametrize("storage", ["journal.log", "studies.db"])
def test_where_no_name_was_asked_for_the_next_free_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    url = str(tmp_path / storage)
    free_name, given = search._free_name, list[str]()

    def and_another_is_faster(task: str, storage: optuna.storages.BaseStorage, others: set[str]) -> str:
        name = free_name(task, storage, others)
        if len(given) < 2:
            Study.create(name, url, SETTINGS, TOY.recipe)
        given.append(name)
        return name

    monkeypatch.setattr(search, "_free_name", and_another_is_faster)
    notes: list[str] = []
    prepared = prepare_search(SearchRequest("bonus", trials=1, epochs=1, storage=url), notes.append)
    assert given == ["bonus-1", "bonus-2", "bonus-3"]
    assert prepared.study.name == "bonus-3"
    assert study_names(open_storage(url)) == given
    assert any(note.startswith("study bonus-3: new, in ") for note in notes)


def test_a_name_that_was_asked_for_is_that_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "journal.log")
    made(url, seed=1)
    monkeypatch.setattr(search, "_existing", lambda _request: None)
    with pytest.raises(InputError, match="there is a study s already: resume it, or choose another --study"):
        prepare_search(SearchRequest("bonus", study="s", trials=1, epochs=1, storage=url), lambda _note: None)
