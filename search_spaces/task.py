"""What is to be learned, as plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .dimensions import Config
from .errors import InputError
from .metrics import check_metric
from .space import SearchSpace


@dataclass(frozen=True)
class Target:
    """A value of the metric that counts as success, and where it comes from."""

    value: float
    origin: str


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
