from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.machine.display import display_name, display_names

byte_names = st.binary(max_size=12).map(os.fsdecode)


@given(byte_names)
def test_every_file_name_can_be_shown_on_one_line_of_a_strict_terminal(name: str) -> None:
    shown = display_name(name)
    shown.encode("utf-8", "strict")
    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert display_name(shown) == shown


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_names_that_can_be_shown_stay_as_they_are(name: str) -> None:
    assert display_name(name) == name


@given(st.lists(byte_names))
def test_two_names_never_become_one(names: list[str]) -> None:
    shown = display_names(names)
    assert len(set(shown.values())) == len(set(names))
    assert all(shown[name] == name for name in names if display_name(name) == name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9", r"caf\xe9"),
        ("café".encode(), "café"),
        (b"a\nb\tc\x1b[31m", r"a\nb\tc\x1b[31m"),
        ("a\u2028b".encode(), r"a\u2028b"),
        (b"[red] $x$ \\n", r"[red] $x$ \n"),
    ],
)
def test_what_cannot_be_shown_is_escaped(name: bytes, shown: str) -> None:
    assert display_name(os.fsdecode(name)) == shown


def test_an_escape_that_is_another_name_gets_a_number() -> None:
    assert display_names([os.fsdecode(b"\xe9"), r"\xe9"]) == {r"\xe9": r"\xe9", "\udce9": r"\xe9 (2)"}
