"""What callers write as arguments, made into what the rest works with: one type for each meaning.

The functions of `pomona` take what notebooks have at hand (paths, NumPy numbers, "10m"); whatever else comes is an
`InputError` that names the argument, before anything is opened or written.
"""

from __future__ import annotations

import datetime
import math
import operator
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeVar, cast

from search_spaces import Config, InputError, Part, Task, Value
from studies.names import ENSEMBLE

if TYPE_CHECKING:
    from studies import Study

    Whole = SupportsIndex
    PathLike = str | os.PathLike[str]
    Duration = str | SupportsFloat | datetime.timedelta

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LARGEST_FLOAT32 = 3.4028234663852886e38


_T = TypeVar("_T")


def optional(convert: Callable[[str, object], _T], name: str, value: object) -> _T | None:
    """What `convert` makes of a value that may be left out."""
    return None if value is None else convert(name, value)


def seconds_of(text: str | None) -> float | None:
    """`45s`, `10m`, `1.5h` or plain seconds.

    Raises:
        InputError: it is none of them.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", text.strip())
    if match is None or not math.isfinite(length := float(match[1]) * _UNITS[match[2]]):
        raise InputError(f"a time is written 45s, 10m or 1.5h, not {text!r}")
    return length


def text(name: str, value: object) -> str:
    """A string that says something."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} must be a string that is not empty, not {_shown(value)}")
    # NumPy's strings are strings, but print as another type.
    return str(value)


def path(name: str, value: object) -> str:
    """A path, as text: a storage may be a URL too."""
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(plain, str) or not plain:
        raise InputError(f"{name} must be a path, as a string or a pathlib.Path, not {_shown(value)}")
    if "\0" in plain:
        raise InputError(f"{name} must be a path, and no path holds a zero byte: {plain!r}")
    if isinstance(value, os.PathLike) and plain == os.path.basename(plain):
        # As text, it could be the name of something else, such as `rendered`.
        return os.path.join(os.curdir, plain)
    return str(plain)


def folder(name: str, value: object) -> Path:
    return Path(path(name, value))


def paths(name: str, values: object) -> list[Path]:
    """Several paths; a single one counts as a list of one."""
    if isinstance(values, str | os.PathLike):
        return [Path(path(name, values))]
    # A table would be read as the names of its columns.
    if not isinstance(values, Iterable) or isinstance(values, Mapping | bytes) or hasattr(values, "columns"):
        raise InputError(f"{name} must be the names of files, not {_shown(values)}")
    found = [Path(path(f"each of {name}", value)) for value in values]
    if not found:
        raise InputError(f"{name} is empty: name at least one file")
    return found


def _whole(name: str, value: object, *, least: int) -> int:
    """A whole number; booleans and floats are none."""
    try:
        number = None if _is_boolean(value) else operator.index(cast(SupportsIndex, value))
    except TypeError:
        number = None
    if number is None:
        raise InputError(f"{name} must be a whole number, not {_shown(value)}")
    if number < least:
        raise InputError(f"{name} must be at least {least}, not {number}")
    return number


def count(name: str, value: object) -> int:
    return _whole(name, value, least=1)


def trial(name: str, value: object) -> int | str:
    """The number of a trial, or the word for an ensemble of several."""
    return ENSEMBLE if isinstance(value, str) and value == ENSEMBLE else _whole(name, value, least=0)


def seed(value: object) -> int:
    return _whole("seed", value, least=0)


def seconds(name: str, value: object) -> float:
    """Seconds, from a number of them, a text such as `10m`, or the difference of two times."""
    if type(value).__name__ == "timedelta64" and hasattr(value, "astype"):
        value = value.astype("timedelta64[us]").item()
    if isinstance(value, datetime.timedelta):
        length = value.total_seconds()
    elif isinstance(value, str):
        length = seconds_of(value) or 0.0
    else:
        try:
            length = math.nan if _is_boolean(value) or isinstance(value, bytes) else float(cast(SupportsFloat, value))
        except (TypeError, ValueError, OverflowError):
            length = math.nan
    if not 0 < length < math.inf:
        raise InputError(f'{name} must be a number of seconds above 0, or a text such as "10m", not {_shown(value)}')
    return length


def number(name: str, value: object) -> float:
    """A finite number, of NumPy or torch too."""
    try:
        plain = math.nan if _is_boolean(value) or isinstance(value, str | bytes) else float(cast(SupportsFloat, value))
    except (TypeError, ValueError, OverflowError):
        plain = math.nan
    if not math.isfinite(plain):
        raise InputError(f"{name} must be a finite number, not {_shown(value)}")
    return plain


def flag(name: str, value: object) -> bool:
    if not _is_boolean(value):
        raise InputError(f"{name} must be True or False, not {_shown(value)}")
    return bool(value)


def device(value: object) -> str:
    """Also a `torch.device`."""
    return str(value) if type(value).__module__.partition(".")[0] == "torch" else text("device", value)


def values(name: str, values: object) -> Config:
    """Values of dimensions as plain Python; whether they lie in a space is for the space to say."""
    if not isinstance(values, Mapping):
        raise InputError(f"{name} must be a dict, dimension: value, not {_shown(values)}")
    return {text(f"a dimension in {name}", key): _value_of(f"{name}[{key!r}]", fixed) for key, fixed in values.items()}


def narrowing(name: str, values: object) -> dict[str, Value | Part]:
    """What is to be tried of dimensions: of each a value, a range as a pair (low, high), or a list of values."""
    if not isinstance(values, Mapping):
        raise InputError(f"{name} must be a dict, dimension: value, (low, high) or [a, b], not {_shown(values)}")
    return {text(f"a dimension in {name}", key): _part_of(f"{name}[{key!r}]", wanted) for key, wanted in values.items()}


def configs(name: str, given: object) -> str | tuple[Config, ...]:
    """A file of configs, or one or several configs themselves."""
    if isinstance(given, str | os.PathLike):
        return path(name, given)
    listed = [given] if isinstance(given, Mapping) else given
    if not isinstance(listed, Iterable) or isinstance(listed, bytes):
        raise InputError(f"{name} must be a file, a config or a list of configs, not {_shown(given)}")
    found = tuple(values(f"each of {name}", config) for config in listed)
    if not found:
        raise InputError(f"{name} is empty: give at least one config")
    return found


def study_names(name: str, given: object, storage: str | None) -> tuple[str, ...]:
    """The names of studies in a storage; of one, or several, each a name or a study.

    Raises:
        InputError: a study lies in another storage, where there may be one of the same name.
    """
    from studies.location import location_of, shown_storage

    listed = [given] if isinstance(given, str) or hasattr(given, "settings") else given
    if not isinstance(listed, Iterable) or isinstance(listed, Mapping | bytes):
        raise InputError(f"{name} must be a study or a list of studies, not {_shown(given)}")
    names = []
    for one in listed:
        known, url = study(one, storage)
        if url != storage and location_of(url) != location_of(storage):
            raise InputError(
                f"{name}: study {known} is in {shown_storage(url)}, not in {shown_storage(storage)}: search there, or "
                "give its configs as enqueue"
            )
        names.append(known)
    return tuple(names)


def _part_of(name: str, wanted: object) -> Value | Part:
    if isinstance(wanted, tuple):
        bounds = [_value_of(name, bound) for bound in wanted]
        numbers = [bound for bound in bounds if not isinstance(bound, str | bool)]
        if len(numbers) != 2 or len(bounds) != 2:
            raise InputError(f"{name} must be a range (low, high) of two numbers, or a list, not {_shown(wanted)}")
        return Part(range=(numbers[0], numbers[1]))
    if isinstance(wanted, list):
        if not wanted:
            raise InputError(f"{name} is empty: name at least one value")
        return Part(options=tuple(_value_of(name, option) for option in wanted))
    return _value_of(name, wanted)


def _value_of(name: str, value: object) -> Value:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int | float):
        # NumPy's float64 is a float, but is stored as another type.
        return float(value) if isinstance(value, float) else value
    try:
        # Of NumPy and torch.
        plain: Any = cast(Any, value).item()
    except (AttributeError, TypeError, ValueError, RuntimeError):
        plain = None
    if isinstance(plain, float):
        return _as_printed(plain) if getattr(value, "itemsize", 8) == 4 else plain
    if not isinstance(plain, bool | int | str):
        raise InputError(f"{name} must be a number, a string or a boolean, not {_shown(value)}")
    return plain


def _as_printed(value: float) -> float:
    """What is meant by a number of 32 bits: 0.1 is another one there than in 64 bits, and still prints as 0.1."""
    for digits in range(1, 10):
        shorter = float(f"{value:.{digits}g}")
        if abs(shorter) <= _LARGEST_FLOAT32 and struct.unpack("f", struct.pack("f", shorter))[0] == value:
            return shorter
    return value


def task(value: object) -> str | Task:
    """A task, or its name or file as text."""
    return value if isinstance(value, Task) else path("task", value)


def task_object(name: str, value: object) -> Task:
    if not isinstance(value, Task):
        raise InputError(f"{name} must be a search_spaces.Task, not {_shown(value)}")
    return value


def study(study: object, storage: object) -> tuple[str, str | None]:
    """The name of a study and its storage; a study that `pomona.search` returned knows its own."""
    url = None if storage is None else path("storage", storage)
    if isinstance(study, str):
        return text("study", study), url
    if hasattr(study, "storage_url") and hasattr(study, "settings"):
        known = cast("Study", study)
        return known.name, known.storage_url
    raise InputError(f"study must be a name, or what pomona.search returned, not {_shown(study)}")


def opened_study(given: object, storage: object) -> Study:
    """A study by its name, or the one that `pomona.search` returned: itself, where a storage in memory holds it."""
    from studies import open_study
    from studies.location import DatabaseAt, location_of

    name, url = study(given, storage)
    location = location_of(url)
    if not isinstance(given, str) and isinstance(location, DatabaseAt) and location.is_in_memory:
        return cast("Study", given)
    return open_study(name, url)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _shown(value: object) -> str:
    """`value` for a message of one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}... ({type(value).__name__})"
