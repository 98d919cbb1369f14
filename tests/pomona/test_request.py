"""The command line, the keywords of `pomona.search` and the request are of one declaration."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import pomona
from pomona.keywords import SearchKeywords
from pomona.request import request_of_keywords, request_of_options
from search_spaces import InputError, Part
from studies import SearchRequest
from studies.request import Kind, declared

from .every_command import commands

OPTIONS = declared(SearchRequest)
KEYWORD_TYPES: dict[Kind, str] = {
    "text": "str | None",
    "path": "PathLike | None",
    "folder": "PathLike | None",
    "device": "str | None",
    "count": "Whole | None",
    "seed": "Whole | None",
    "seconds": "Duration | None",
    "number": "SupportsFloat | None",
    "values": "Mapping[str, Value | Sequence[Value]] | None",
    "names": "str | Study | Sequence[str | Study] | None",
    "configs": "PathLike | Mapping[str, Value] | Sequence[Mapping[str, Value]] | None",
    "flag": "bool",
}
# As typed on the command line, as given in Python, and what becomes of both.
GIVEN: dict[Kind, tuple[Any, Any, Any]] = {
    "text": ("a", "a", "a"),
    "path": ("a/b", Path("a/b"), "a/b"),
    "folder": (Path("a/b"), "a/b", Path("a/b")),
    "device": ("cpu", "cpu", "cpu"),
    "count": (3, 3, 3),
    "seed": (0, 0, 0),
    "seconds": ("10m", 600, 600.0),
    "number": (0.5, 0.5, 0.5),
    "values": (
        ["learning_rate=0.25..0.5", "batch_size=8,16", "momentum=0.5"],
        {"learning_rate": (0.25, 0.5), "batch_size": [8, 16], "momentum": 0.5},
        {"learning_rate": Part(range=(0.25, 0.5)), "batch_size": Part(options=(8, 16)), "momentum": 0.5},
    ),
    "names": (["a", "b"], ["a", "b"], ("a", "b")),
    "configs": ("a/b", Path("a/b"), "a/b"),
    "flag": (True, True, True),
}


def test_type_checkers_know_each_keyword() -> None:
    known = {name: reference.__forward_arg__ for name, reference in SearchKeywords.__annotations__.items()}
    assert known == {name: KEYWORD_TYPES[option.kind] for name, option in OPTIONS.items()}


def test_help_and_notebooks_show_each_keyword() -> None:
    signature = inspect.signature(pomona.search)
    assert list(signature.parameters) == ["task", *SearchKeywords.__annotations__]
    for name, option in OPTIONS.items():
        assert signature.parameters[name].default == (False if option.kind == "flag" else None)


def test_the_command_has_each_option() -> None:
    parameters = {one.name: one for one in commands()["search"].params}
    for name, option in OPTIONS.items():
        one = parameters[name]
        assert one.opts == [option.flag]
        assert one.help.startswith(option.help)
        assert option.default in one.help
        assert (one.is_flag, one.multiple) == (option.kind == "flag", option.kind in ("values", "names"))
        assert not one.required


@given(st.sets(st.sampled_from(sorted(OPTIONS))))
def test_both_ways_give_one_request(said: set[str]) -> None:
    unsaid = {name: False if option.kind == "flag" else None for name, option in OPTIONS.items()}
    typed = request_of_options("bonus", unsaid | {name: GIVEN[OPTIONS[name].kind][0] for name in said})
    called = request_of_keywords("bonus", {name: GIVEN[OPTIONS[name].kind][1] for name in said})
    assert replace(typed, command="") == replace(called, command="")
    assert called == SearchRequest(
        "bonus", **{name: GIVEN[OPTIONS[name].kind][2] for name in said}, command=called.command
    )
    assert all(f"{name}=" in called.command for name in said)
    assert called.command.count("=") == len(said)


def test_a_keyword_that_there_is_not_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'trails'"):
        pomona.search("bonus", trails=3)  # type: ignore[call-arg]


def test_a_time_that_can_not_be_read_is_refused_both_ways() -> None:
    unsaid = {name: False if option.kind == "flag" else None for name, option in OPTIONS.items()}
    with pytest.raises(InputError, match="not 'soon'"):
        request_of_options("bonus", unsaid | {"timeout": "soon"})
    with pytest.raises(InputError, match="not 'soon'"):
        request_of_keywords("bonus", {"timeout": "soon"})


def test_options_stand_where_typer_looks_for_them() -> None:
    command = next(one.callback for one in pomona_commands() if one.callback and one.callback.__name__ == "search")
    assert {"task", "as_json", *OPTIONS} <= set(inspect.signature(command).parameters)


def pomona_commands() -> list[typer.models.CommandInfo]:
    from pomona.app import app

    return app.registered_commands
