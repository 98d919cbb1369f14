"""Every command with its options, whichever library reads them."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer.main

from pomona.app import app
from pomona.commands.bench import BENCHMARKS


@dataclass(frozen=True)
class Parameter:
    """An option by each of its names, or an argument without; `kind` is "flag" or "value"."""

    command: str
    names: tuple[str, ...]
    kind: str
    repeats: bool
    metavar: str
    help: str


def commands() -> dict[str, Any]:
    """The commands that typer runs, by their words."""
    return dict(_below("", typer.main.get_command(app)))


def _below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _below(f"{words} {name}".strip(), below)


def parameters() -> list[Parameter]:
    found = [
        Parameter(
            words,
            tuple(parameter.opts) if parameter.param_type_name == "option" else (),
            "flag" if getattr(parameter, "is_flag", False) else "value",
            bool(getattr(parameter, "multiple", False)),
            parameter.metavar or "",
            parameter.help or "",
        )
        for words, command in commands().items()
        if words.removeprefix("bench ") not in BENCHMARKS
        for parameter in command.params
    ]
    return found + [
        Parameter(
            f"bench {name}",
            tuple(action.option_strings),
            "flag" if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction) else "value",
            isinstance(action, argparse._AppendAction),
            "",
            action.help or "",
        )
        for name, (module, _) in BENCHMARKS.items()
        for action in parser_of(module)._actions
    ]


class _Made(Exception):
    pass


def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser that `main` of a benchmark makes."""
    made: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, *_: object) -> None:
        made.append(parser)
        raise _Made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", keep)
        with pytest.raises(_Made):
            importlib.import_module(module).main([])
    return made[0]
