"""Studies listed, deleted and renamed as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from optuna.trial import TrialState

import pomona
from search_spaces import InputError, task_named
from studies import Study, delete_study, list_studies, rename_study
from studies.storage import open_storage, study_names


@pytest.fixture(params=["j.log", "sqlite:///{}/s.db"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = str(tmp_path / "j.log") if request.param == "j.log" else request.param.format(tmp_path)
    pomona.search("bonus", trials=3, epochs=2, storage=url, study="one")
    return url


def _interrupt(storage: str, name: str) -> Path:
    """Leaves a trial under way, with a saved lane and a traceback."""
    study = Study.open(name, storage)
    study._study.ask()
    lane = study.trial_folder(3) / "lane.safetensors"
    lane.parent.mkdir(parents=True)
    lane.write_bytes(b"lane")
    study.recording.keep_traceback(3, "Traceback")
    return lane


def test_renamed_it_has_the_same_trials_settings_and_files(storage: str) -> None:
    lane = _interrupt(storage, "one")
    before = Study.open("one", storage)
    trials = before._study.get_trials()
    renamed = rename_study("one", "two", storage)
    assert study_names(open_storage(storage)) == ["two"]
    assert renamed.settings == before.settings
    after = renamed._study.get_trials()
    for old, new in zip(trials, after, strict=True):
        assert (new.number, new.state, new.values, new.params) == (old.number, old.state, old.values, old.params)
        assert (new.user_attrs, new.intermediate_values) == (old.user_attrs, old.intermediate_values)
        assert (new.constraints, new.distributions) == (old.constraints, old.distributions)
    assert [trial.state for trial in after] == [TrialState.COMPLETE] * 3 + [TrialState.RUNNING]
    assert not before.folder.exists()
    assert (renamed.folder / lane.relative_to(before.folder)).read_bytes() == b"lane"


@pytest.mark.parametrize("name", ["", "../two", "a/b", ".hidden", "one"])
def test_a_name_that_is_taken_or_no_name_is_refused(name: str, tmp_path: Path) -> None:
    storage = str(tmp_path / "j.log")
    pomona.search("bonus", trials=1, epochs=1, storage=storage, study="one")
    with pytest.raises(InputError):
        rename_study("one", name, storage)
    assert study_names(open_storage(storage)) == ["one"]


def test_deleted_it_takes_its_own_files_along_and_nobody_elses(storage: str, tmp_path: Path) -> None:
    lane = _interrupt(storage, "one")
    folder = Study.open("one", storage).folder
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "lane.safetensors").write_bytes(b"not ours")
    (folder / "trials" / "00009").symlink_to(outside)
    (folder / "notes.md").write_text("mine")
    delete_study("one", storage)
    assert study_names(open_storage(storage)) == []
    assert not lane.exists()
    assert (outside / "lane.safetensors").read_bytes() == b"not ours"
    assert (folder / "notes.md").read_text() == "mine"


def test_deleted_nothing_is_left_where_there_is_nothing_foreign(storage: str) -> None:
    _interrupt(storage, "one")
    folder = Study.open("one", storage).folder
    delete_study("one", storage)
    assert not folder.exists()


@pytest.mark.parametrize("change", [lambda s: delete_study("one", s), lambda s: rename_study("one", "two", s)])
def test_one_that_is_being_run_is_left_alone(change: object, tmp_path: Path) -> None:
    storage = str(tmp_path / "j.log")
    pomona.search("bonus", trials=1, epochs=1, storage=storage, study="one")
    with Study.open("one", storage).running(), pytest.raises(InputError, match="being run"):
        change(storage)  # type: ignore[operator]
    assert [told["study"] for told in list_studies(storage)] == ["one"]


@pytest.mark.parametrize("change", [lambda s: delete_study("one", s), lambda s: rename_study("one", "two", s)])
def test_one_that_a_joined_driver_still_trains_is_left_alone(change: object, tmp_path: Path) -> None:
    """A driver that has joined holds no lock: it is known by its trials, for which it beats."""
    storage = f"sqlite:///{tmp_path}/s.db"
    pomona.search("bonus", trials=1, epochs=1, storage=storage, study="one")
    study = Study.open("one", storage, to_run=True)
    with study.joined():
        assert study.ask(task_named("bonus").space, 5) is not None
        with pytest.raises(InputError, match="being run"):
            change(storage)  # type: ignore[operator]
    assert [told["study"] for told in list_studies(storage)] == ["one"]


def test_the_list_names_foreign_studies_too(tmp_path: Path) -> None:
    import optuna

    storage = str(tmp_path / "j.log")
    pomona.search("bonus", trials=1, epochs=1, storage=storage, study="one")
    optuna.create_study(study_name="foreign", storage=open_storage(storage))
    one, foreign = list_studies(storage)
    assert (one["study"], one["task"], one["ended"], one["trials"]) == ("one", "bonus", 1, 1)
    assert (foreign["study"], foreign["task"]) == ("foreign", None)
    assert os.linesep not in foreign["problem"]
