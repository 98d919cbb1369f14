"""A study's name is a folder below the storage's and nothing else, wherever the study comes from."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from studies import ResumeRequest, SearchRequest, Study, open_storage, prepare_resume, prepare_search
from studies.names import check_name, check_new_name, shown

from ..toys import TOY
from .settings import settings_for

UNSAFE = ["", ".", "..", "../victim", "/etc", "a/b", "a\\b", "a\0b", "line\nbreak", "tab\t", "\x1b[31m", "x" * 300]
UNSAFE += ["é" * 150, "\u202egnp", "half \udce9", "journal.log", "journal.log.lock"]
AWKWARD = [".hidden", "-dash", " blank", "blank ", "dot."]
FINE = ["fruit-1", "my study", "früchte", "水果", "$(id)", "it's", "a;b", "100 %", "x" * 200]


@pytest.mark.parametrize("name", FINE)
def test_what_can_be_a_folder_can_be_a_study(name: str) -> None:
    assert check_new_name(name) == name


def refusal_of(name: str) -> str:
    try:
        check_name(name)
    except InputError as refusal:
        return str(refusal)
    return ""


@given(st.text(max_size=90))
def test_a_name_is_a_folder_of_its_own_or_refused_in_one_line(name: str) -> None:
    if refusal := refusal_of(name):
        assert refusal.isprintable()
        assert refusal.endswith("use letters, digits, - and _")
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).mkdir()
        assert os.listdir(folder) == [name]
    assert shown(name).isprintable()


@pytest.mark.parametrize("name", UNSAFE + AWKWARD)
def test_a_search_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = SearchRequest(task="bonus", study=name, storage="deep/j.log", trials=1, epochs=1)
    with pytest.raises(InputError, match="use letters, digits, - and _"):
        prepare_search(request, lambda _note: None)
    with pytest.raises(InputError, match="use letters"):
        Study.create(name, "deep/j.log", settings_for(TOY), TOY.recipe)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in UNSAFE if name.isprintable() and len(name) < 200])
def test_a_study_of_a_plain_program_with_an_unsafe_name_is_not_opened(tmp_path: Path, name: str) -> None:
    url = str(tmp_path / "storage" / "j.log")
    study = optuna.create_study(study_name=name, storage=open_storage(url))
    study.set_user_attr("settings", settings_for(TOY).to_json())
    victim = tmp_path / "storage" / "victim" / "trials" / "00000"
    victim.mkdir(parents=True)
    (victim / "mine.txt").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="study's name can't"):
        Study.open(name, url, to_run=True)
    with pytest.raises(InputError, match="study's name can't"):
        prepare_resume(ResumeRequest(name, url), lambda _note: None)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", AWKWARD)
def test_a_study_that_has_an_awkward_name_can_be_opened(url: str, name: str) -> None:
    study = optuna.create_study(study_name=name, storage=open_storage(url))
    study.set_user_attr("settings", settings_for(TOY).to_json())
    assert Study.open(name, url).folder.name == name


def test_names_of_other_studies_are_told_in_one_short_line(url: str) -> None:
    storage = open_storage(url)
    for number in range(12):
        optuna.create_study(study_name=f"\x1b[31m{number}" if number else "my study", storage=storage)
    with pytest.raises(InputError) as raised:
        Study.open("nope", url)
    assert str(raised.value).startswith("unknown study nope; there is 'my study', '\\x1b[31m1', ")
    assert str(raised.value).endswith(" and 2 more")
