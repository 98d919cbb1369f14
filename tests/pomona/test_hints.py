"""What a message suggests can be pasted into a shell and means what it says."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomona.hints import command_line
from studies import Study

from ..studies.settings import settings_for
from ..toys import TOY

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(TEXT, TEXT)
def test_a_shell_reads_back_the_names(study: str, storage: str) -> None:
    words = shlex.split(command_line("resume", study, storage=f"./{storage}".replace("://", "-")))
    assert words[:2] == ["pomona", "resume"]
    assert words[-1 if study.startswith("-") else 2] == study
    assert "--storage" in words
    if study.startswith("-"):
        assert words[-2] == "--"


def test_an_option_s_value_may_begin_with_a_dash() -> None:
    line = command_line("train", "bonus", options={"--from-study": "-dash", "--out": None})
    assert line == "pomona train bonus --from-study=-dash"


def test_a_storage_is_repeated_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POMONA_STORAGE", raising=False)
    assert command_line("resume", "s") == "pomona resume s"
    assert command_line("resume", "s", storage="my studies/j.log") == "pomona resume s --storage 'my studies/j.log'"
    monkeypatch.setenv("POMONA_STORAGE", "my studies/j.log")
    assert command_line("resume", "s", storage="my studies/j.log") == "pomona resume s"
    assert command_line("resume", "s", storage="k.log") == "pomona resume s --storage k.log"


def test_a_password_is_not_repeated() -> None:
    line = command_line("resume", "s", storage="postgresql://me:secret@host/name")
    assert line == "pomona resume s --storage 'postgresql://me:***@host/name'"


def test_every_command_takes_the_storage_of_the_environment(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(tmp_path / "a b.log")
    Study.create("my study", storage, settings_for(TOY), TOY.recipe)
    assert run("status", "my study", "--storage", storage)[1].endswith(
        f"  go on: pomona resume 'my study' --storage '{storage}'\n"
    )
    monkeypatch.setenv("POMONA_STORAGE", storage)
    assert run("status", "my study")[1].endswith("  go on: pomona resume 'my study'\n")
    assert run("leaderboard", "my study", "--json")[0] == 0
    assert run("status", "my study", "--storage", "none.log")[0] == 1
