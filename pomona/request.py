"""A `SearchRequest` from what people give: options of the command line, or keywords in Python.

Both follow the declarations in `studies.request`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from search_spaces import task_named
from studies.request import Kind, SearchRequest, declared

from . import arguments as to
from .calls import call_text
from .hints import typed_command

_KEYWORDS: dict[Kind, Callable[[str, object], object]] = {
    "text": to.text,
    "path": to.path,
    "folder": to.folder,
    "device": lambda _name, value: to.device(value),
    "count": to.count,
    "seed": lambda _name, value: to.seed(value),
    "seconds": to.seconds,
    "number": to.number,
    "values": to.narrowing,
    "configs": to.configs,
}


def request_of_keywords(task: object, keywords: Mapping[str, object]) -> SearchRequest:
    """What `pomona.search` was called with.

    Raises:
        InputError: an argument is not what it can be.
    """
    chosen = to.task(task)
    storage = to.optional(to.path, "storage", keywords.get("storage"))
    given: dict[str, Any] = {}
    for name, option in declared(SearchRequest).items():
        value = keywords.get(name)
        if option.kind == "flag":
            value = to.flag(name, keywords.get(name, False)) or None
        elif value is not None and option.kind == "names":
            value = to.study_names(name, value, storage)
        elif value is not None:
            value = _KEYWORDS[option.kind](name, value)
        if value is not None:
            given[name] = value
    return SearchRequest(chosen, **given, command=call_text("search", chosen, **given))


def request_of_options(task: str, options: Mapping[str, Any]) -> SearchRequest:
    """What `pomona search` was called with.

    Raises:
        InputError: there is no such task, it has no such dimension or value, or a time can't be read.
    """
    given = dict(options)
    for name, option in declared(SearchRequest).items():
        if option.kind == "values":
            given[name] = task_named(task).space.parse_narrowing(given[name] or [])
        elif option.kind == "names":
            given[name] = tuple(given[name] or ())
        elif option.kind == "seconds":
            given[name] = to.seconds_of(given[name])
    return SearchRequest(task, **given, command=typed_command())
