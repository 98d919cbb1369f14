from __future__ import annotations

import json

import pytest

from .conftest import Run


def test_listed_renamed_and_deleted_with_a_question(run: Run) -> None:
    small = ["--trials", 1, "--epochs", 1, "--storage", "j.log"]
    assert run("search", "bonus", *small, "--study", "one")[0] == 0
    code, out, _ = run("studies", "--storage", "j.log")
    assert code == 0
    assert "one" in out
    assert "1 of 1" in out
    assert run("studies", "rename", "one", "two", "--storage", "j.log")[0] == 0
    (told,) = json.loads(run("studies", "list", "--json", "--storage", "j.log")[1])
    assert told["study"] == "two"
    code, _, err = run("studies", "delete", "two", "--storage", "j.log")
    assert code == 1
    assert "--yes" in err
    assert run("studies", "delete", "two", "--yes", "--storage", "j.log")[0] == 0
    assert "no studies yet" in run("studies", "--storage", "j.log")[1]


def test_an_unknown_study_is_an_error_in_one_line(run: Run) -> None:
    run("search", "bonus", "--trials", 1, "--epochs", 1, "--storage", "j.log")
    for arguments in (["delete", "nope", "--yes"], ["rename", "nope", "two"]):
        code, _, err = run("studies", *arguments, "--storage", "j.log")
        assert code == 1
        assert err.count("\n") == 1
        assert "nope" in err


def test_options_of_the_list_are_not_lost_on_the_way_to_a_command(run: Run) -> None:
    """Else the study of that name in the default storage would be deleted."""
    for name in ("j.log", "results/studies/journal.log"):
        assert run("search", "bonus", "--study", "s", "--trials", 1, "--epochs", 1, "--storage", name)[0] == 0
    for command in (["delete", "s", "--yes"], ["rename", "s", "t"], ["list"]):
        code, _, err = run("studies", "--storage", "j.log", *command)
        assert (code, err.count("\n")) == (1, 1)
        assert f"write --storage after {command[0]}" in err
    assert "write --json after list" in run("studies", "--json", "list")[2]
    for name in ("j.log", "results/studies/journal.log"):
        (told,) = json.loads(run("studies", "list", "--storage", name, "--json")[1])
        assert told["study"] == "s"


def test_the_environment_s_storage_is_that_of_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMONA_STORAGE", "j.log")
    assert run("search", "bonus", "--study", "s", "--trials", 1, "--epochs", 1)[0] == 0
    assert run("studies", "rename", "s", "t")[0] == 0
    assert run("studies", "delete", "t", "--yes")[0] == 0
