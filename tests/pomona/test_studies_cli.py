from __future__ import annotations

import json

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
