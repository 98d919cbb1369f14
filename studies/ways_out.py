"""What an error advises, by the command that meets it: options that it has not are no way out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields

from search_spaces import InputError

ANEW = "begin a new study with `pomona search`"
"""What takes the place of options that a study keeps from the search that made it."""

_OPTION = re.compile(r"--[a-z][a-z-]*")
_OTHER_COMMAND = re.compile(r"`[^`]*`")
# Of a request, what is no option: the study is the argument, and a task object comes from Python alone.
_NO_OPTIONS = ("study", "task", "command")


@contextmanager
def only_options(has: Collection[str], instead: str = "") -> Iterator[None]:
    """Inside, an `InputError` names no way out by an option that the command has not; `instead` takes the place of
    those."""
    try:
        yield
    except InputError as error:
        ways = [way for way in error.ways if options_in(way) <= set(has)]
        if len(ways) == len(error.ways):
            raise
        raise InputError(error.problem, *ways, *([instead] if instead else [])) from error


def options_in(text: str) -> set[str]:
    """The options that a text names for the command at hand: not those of another, as in `ray start --head`."""
    return set(_OPTION.findall(_OTHER_COMMAND.sub("", text)))


def options_of(request: type) -> frozenset[str]:
    """The options, as `--timeout`, of a command whose request is this dataclass."""
    return frozenset(f"--{one.name.replace('_', '-')}" for one in fields(request) if one.name not in _NO_OPTIONS)
