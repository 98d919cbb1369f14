"""`pomona tasks`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from search_spaces import TASKS, Choice, Dimension, InputError, Task, interval_text, is_numeric, task_named, value_text

from ..console import note, print_json, print_lines, print_table
from ..recorded import Recorded, best_recorded
from .options import AsJson


def tasks(
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Show this one with its space.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks that can be searched, or show one with its space: a task of the list, or a file of your own.

    The best results come from the leaderboards in results/leaderboards.

    Example: pomona tasks fruit
    """
    chosen = TASKS if task is None else (task_named(task),)
    results = {one.name: _recorded(one) for one in chosen}
    if as_json:
        print_json([_to_json(one, results[one.name]) for one in chosen])
    elif task is None:
        _print_overview(results)
    else:
        _print_one(chosen[0], results[chosen[0].name])


def _print_overview(results: dict[str, Recorded | None]) -> None:
    rows = [
        [
            task.name,
            task.title,
            task.metric,
            f"{task.target.value:g}" if task.target else "",
            "a number" if is_numeric(task.metric) else str(len(task.classes) or "the folder's"),
            _result(task, results[task.name]),
        ]
        for task in TASKS
    ]
    headings = ["task", "what is learned", "metric", "target", "classes", "best recorded trial"]
    print_table(headings, rows, expendable=["metric", "classes"])
    note("pomona tasks TASK shows a task with its space")


def _print_one(task: Task, recorded: Recorded | None) -> None:
    target = f"target {task.metric} {task.target.value:g} ({task.target.origin})" if task.target else "no target"
    lines = [
        f"{task.name}: {task.title}",
        _answers(task),
        f"data: {', '.join(task.sources) or 'name a folder with --data'}",
        target,
        f"recipe: {task.recipe_origin}",
    ]
    if recorded is not None:
        result = f"{_result(task, recorded)} in {recorded.file}"
        lines.append(f"best recorded trial: {result}; the best of several, so a maximum and not an estimate")
    print_lines([lines[0], *(f"  {line}" for line in lines[1:]), ""])
    rows = [[name, _values(d), _condition(d), str(task.recipe.get(name, ""))] for name, d in _dimensions(task)]
    print_table(["dimension", "values", "only where", "recipe"], rows, expendable=["only where"])


def _answers(task: Task) -> str:
    if is_numeric(task.metric):
        return f"number: {task.columns[-1]}, from {', '.join(task.columns[:-1])}"
    return f"classes: {', '.join(task.classes) or 'the class folders of the data'}"


def _recorded(task: Task) -> Recorded | None:
    """A file that is no leaderboard is said, and does not keep anyone from the list."""
    try:
        return best_recorded(task)
    except InputError as problem:
        note(f"left out: {problem}")
        return None


def _result(task: Task, recorded: Recorded | None) -> str:
    if recorded is None:
        return ""
    interval = f", {interval_text(task.metric, recorded.ci95)}" if recorded.ci95 else ""
    return f"{value_text(task.metric, recorded.value)} (n = {recorded.n}{interval})"


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


def _to_json(task: Task, recorded: Recorded | None) -> dict[str, Any]:
    return {
        "name": task.name,
        "title": task.title,
        "modality": task.modality,
        "classes": list(task.classes),
        "sources": list(task.sources),
        "metric": task.metric,
        "direction": task.direction,
        "target": task.target.value if task.target else None,
        "target_origin": task.target.origin if task.target else None,
        "recipe": task.recipe,
        "recipe_origin": task.recipe_origin,
        "space": {name: _dimension_to_json(dimension) for name, dimension in task.space.dimensions.items()},
        "best": asdict(recorded) if recorded else None,
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
