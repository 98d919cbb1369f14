"""Configs that people bring to a search: of a file, and of earlier studies. All are checked before one is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search_spaces import Choice, Config, Float, InputError, SearchSpace
from training.machine.decode import DecodeError, decoded

from .leaderboard import leaderboard_rows
from .records import config_key
from .study import Study

MOST_OF_A_STUDY = 8
"""So many of the best configs of a study are taken from it."""


@dataclass(frozen=True)
class Enqueued:
    """A config, or a part of one that the sampler completes, with the note of its trial."""

    config: Config
    note: str


def enqueued_from(given: str | Sequence[Config], space: SearchSpace) -> list[Enqueued]:
    """The configs of a file (see `read_configs`), or those that were given as they are.

    Raises:
        InputError: one can't be read or is none of the space; it is named.
    """
    name = Path(given).name if isinstance(given, str) else ""
    configs = read_configs(given) if isinstance(given, str) else given
    note = f"enqueued from {name}" if name else "enqueued"
    proposed = _proposed(space)
    found = []
    for number, config in enumerate(configs, start=1):
        try:
            proposed.check_part(config)
        except InputError as problem:
            raise InputError(f"{given if name else '--enqueue'}, config {number}: {problem}") from None
        found.append(Enqueued(_plain(config, proposed), note))
    return found


def read_configs(file: str) -> list[Config]:
    """A JSON list of objects, one object, JSON lines, or (.toml) a TOML table; each gives dimensions their values.

    Raises:
        InputError: it is none of them, or holds nothing.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{file} can't be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text") from None
    found = _parsed(file, text)
    configs = found if isinstance(found, list) else [found]
    if not configs:
        raise InputError(f"{file} holds no config")
    try:
        return [decoded(config, Config, f"config {number}") for number, config in enumerate(configs, start=1)]
    except DecodeError as problem:
        raise InputError(f"{file}: {problem}") from None


def warm_start(
    names: Sequence[str], storage: str | None, space: SearchSpace, *, study: str | None
) -> tuple[list[Enqueued], str]:
    """The best configs of earlier studies of the same storage, best first, and in words what became of them.

    One that is outside the space is adapted to it, or left out where it has dimensions that the space has not.

    Raises:
        InputError: there is no such study, or it is `study` itself.
    """
    proposed = _proposed(space)
    found: dict[str, Enqueued] = {}
    adapted = left_out = 0
    for name in names:
        if name == study:
            raise InputError(f"--warm-start {name}: a study can't start from itself")
        earlier = Study.open(name, storage)
        settings = earlier.settings
        rows = leaderboard_rows(earlier.records(), direction=settings.direction, metric=settings.metric)
        for row in [row for row in rows if row["rank"] is not None][:MOST_OF_A_STUDY]:
            note, config = f"from {name} trial {row['number']}", row["params"]
            if not config.keys() <= proposed.dimensions.keys():
                left_out += 1
                continue
            config, changes = proposed.adapt(_plain(config, proposed))
            config = _plain(config, proposed)
            if changes:
                adapted += 1
                note += f", with {', '.join(changes)}"
            found.setdefault(config_key(config), Enqueued(config, note))
    words = f"warm start: {count_text(len(found))} of {', '.join(names)}"
    words += f", {adapted} adapted to the space" if adapted else ""
    words += f", {left_out} left out, which have other dimensions" if left_out else ""
    return list(found.values()), words


def count_text(configs: int) -> str:
    return "1 config" if configs == 1 else f"{configs} configs"


def _parsed(file: str, text: str) -> object:
    if file.endswith(".toml"):
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as problem:
            raise InputError(f"{file} is not TOML: {problem}") from None
    try:
        return json.loads(text)
    except ValueError as whole:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise InputError(f"{file} is neither JSON nor JSON lines: {whole}") from None


def _proposed(space: SearchSpace) -> SearchSpace:
    """The space without what has to be asked for by name: a sampler can't be given such a value."""
    choices = {name: one for name, one in space.dimensions.items() if isinstance(one, Choice) and one.on_request}
    return space.replace(**{name: Choice(*one.options) for name, one in choices.items()})


def _plain(config: Config, space: SearchSpace) -> Config:
    """Equal values are written alike: a whole number of JSON as a float where the dimension is one."""
    return {
        name: float(value) if isinstance(space.dimensions[name], Float) and isinstance(value, int) else value
        for name, value in config.items()
    }
