"""What is to be learned, as plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

from .dimensions import Config
from .errors import InputError
from .metrics import check_metric
from .space import SearchSpace


@dataclass(frozen=True)
class Target:
    """A value of the metric that counts as success, and where it comes from."""

    value: float
    origin: str

    def __post_init__(self) -> None:
        if not _is_number(self.value):
            raise InputError(f"a target is a finite number, as in Target(0.92, 'why'), not {self.value!r}")
        object.__setattr__(self, "value", float(self.value))


@dataclass(frozen=True)
class Task:
    """A task: data sources, metric, target, the recipe of its source, and its space.

    `name` consists of letters, digits, - and _: studies and folders are named after it.
    `classes` is empty where the class folders of the data decide them.
    `sources` lists where the data may come from when no folder is named, first choice first; with none of them a folder
    must be named.
    `modality` is the name of one that `training` can open: "image", "tabular", "text", or one that was registered
    there. `columns` of a table are those of the features and, last, the target's.
    `metric` is as in `metrics.py`.
    `recipe` is the setting that the task's origin describes; it lies in `space` and is trial 0 of every study.
    """

    name: str
    title: str
    modality: str
    classes: tuple[str, ...]
    sources: tuple[str, ...]
    metric: str
    direction: str
    target: Target | None
    recipe_origin: str
    recipe: Config
    space: SearchSpace
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name) is None:
            raise InputError(f"a task's name consists of letters, digits, - and _, unlike {self.name!r}")
        if self.direction not in ("maximize", "minimize"):
            raise InputError(f"a direction is 'maximize' or 'minimize', not {self.direction!r}")
        for name in ("classes", "sources", "columns"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if self.target is not None:
            _check_target(self.target)
        if len(self.columns) == 1:
            raise InputError("columns are those of a table: at least one feature's and, last, the target's")
        check_metric(self.metric, self.direction)
        try:
            object.__setattr__(self, "recipe", self.space.validate(self.recipe))
        except InputError as problem:
            raise InputError(
                f"the recipe of task {self.name!r} is not in its space: {problem} (TASK.with_space(space) adapts it)"
            ) from None

    def with_space(self, space: SearchSpace) -> Task:
        """This task over another space, with the recipe adapted to it; see `SearchSpace.adapt`."""
        return replace(self, space=space, recipe=space.adapt(self.recipe)[0])

    def __hash__(self) -> int:
        return hash((self.name, self.space.digest))


def _texts(name: str, given: object) -> tuple[str, ...]:
    """What a field of texts was given, as a tuple.

    Raises:
        InputError: it is one text, or holds something else, an empty text or one twice.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        # Without its comma, ("photos") is no tuple.
        shown = f"({given!r},)" if isinstance(given, str) else "('one', 'another')"
        raise InputError(f"{name} is a tuple of texts, as in {shown}, not {given!r}")
    for place, item in enumerate(given):
        if not isinstance(item, str) or not item:
            raise InputError(f"{name} is a tuple of texts, and holds {item!r}: write a text for it")
        if item in given[:place]:
            raise InputError(f"{name} holds {item!r} twice: keep one")
    return tuple(given)


def _check_target(given: object) -> None:
    if not isinstance(given, Target):
        raise InputError(f"target is a search_spaces.Target(0.92, 'why') or None, not {given!r}")


def _is_number(value: object) -> bool:
    """Also of NumPy; whether it is finite, and a float can hold it."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
