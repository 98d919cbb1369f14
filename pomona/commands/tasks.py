"""`pomona tasks`"""

from __future__ import annotations

import json
from typing import Any

from search_spaces import TASKS, Choice, Dimension, Task

from ..console import print_answer, print_table
from .options import AsJson


def tasks(as_json: AsJson = False) -> None:
    """List the tasks that can be searched, with their spaces.

    Example: [bold]pomona tasks --json[/bold]
    """
    if as_json:
        print_answer(json.dumps([_to_json(task) for task in TASKS], indent=2))
        return
    for task in TASKS:
        target = f"target {task.metric} {task.target.value:g} ({task.target.origin})" if task.target else "no target"
        print_answer(f"{task.name}: {task.title}\n  {target}\n  recipe: {task.recipe_origin}\n")
        rows = [[name, _values(d), _condition(d), str(task.recipe.get(name, ""))] for name, d in _dimensions(task)]
        print_table(["dimension", "values", "only where", "recipe"], rows, expendable=["only where"])


def _dimensions(task: Task) -> list[tuple[str, Dimension]]:
    return list(task.space.dimensions.items())


def _values(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(str(option) for option in dimension.options)
    return f"{dimension.low:g} to {dimension.high:g}{', log scale' if dimension.log else ''}"


def _condition(dimension: Dimension) -> str:
    if dimension.condition is None:
        return ""
    return f"{dimension.condition.other} is {', '.join(str(value) for value in dimension.condition.is_in)}"


def _to_json(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "title": task.title,
        "modality": task.modality,
        "classes": list(task.classes),
        "sources": list(task.sources),
        "metric": task.metric,
        "target": task.target.value if task.target else None,
        "target_origin": task.target.origin if task.target else None,
        "recipe": task.recipe,
        "recipe_origin": task.recipe_origin,
        "space": {name: _dimension_to_json(dimension) for name, dimension in task.space.dimensions.items()},
    }


def _dimension_to_json(dimension: Dimension) -> dict[str, Any]:
    if isinstance(dimension, Choice):
        described: dict[str, Any] = {"type": "choice", "options": list(dimension.options)}
    else:
        kind = type(dimension).__name__.lower()
        described = {"type": kind, "low": dimension.low, "high": dimension.high, "log": dimension.log}
    if dimension.condition is not None:
        described["when"] = {"other": dimension.condition.other, "is_in": list(dimension.condition.is_in)}
    return described
