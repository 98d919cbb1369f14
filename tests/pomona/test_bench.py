"""`pomona bench`: every benchmark gets its arguments as they are."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import pytest

from pomona.commands.bench import BENCHMARKS

from .conftest import Run


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("code", [0, 1])
def test_arguments_and_exit_code_are_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    given: list[Sequence[str]] = []

    def main(argv: Sequence[str]) -> int:
        given.append(argv)
        return code

    monkeypatch.setattr(importlib.import_module(BENCHMARKS[name][0]), "main", main)
    arguments = ["--out", "folder", "-x", "--flag=1", "A.json", "--help"]
    assert run("bench", name, *arguments)[0] == code
    assert given == [arguments]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_and_wrong_usage_are_the_benchmarks_own(run: Run, name: str) -> None:
    code, out, _ = run("bench", name, "--help")
    assert code == 0
    assert "--json" in out
    assert run("bench", name, "--no-such-option")[0] == 2


def test_the_benchmarks_are_listed(run: Run) -> None:
    code, out, _ = run("bench", "--help")
    assert code == 0
    assert all(name in out for name in BENCHMARKS)
