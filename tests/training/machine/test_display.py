from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.machine.display import display_name, display_names, number_text

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


@given(st.floats(-1e15, 1e15))
def test_a_number_loses_no_digit_before_its_point(value: float) -> None:
    assert float(number_text(value)) == pytest.approx(value, rel=1e-5, abs=0.06 if abs(value) > 1e5 else None)


def test_numbers_for_people() -> None:
    values = (1234567, 1_700_000_123.25, 0.1, 52341.2837, 3e20, float("nan"))
    assert [number_text(value) for value in values] == ["1234567", "1700000123.25", "0.1", "52341.28", "3e+20", "nan"]
