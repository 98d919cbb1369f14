"""Searching and benchmarking know no dimension by name, so that a new one touches a task and its reader in training."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from search_spaces import TASKS

ROOT = Path(__file__).resolve().parents[1]
GENERIC = ("studies", "bench")
# What people run today is written as they write it.
EXEMPT = ROOT / "bench" / "peers"
NAMES = frozenset(name for task in TASKS for name in task.space.dimensions)


def named_dimensions(source: str, names: frozenset[str]) -> list[tuple[int, str]]:
    """Line and text of every string literal that is one of `names`; docstrings and other bare strings do not count."""
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in names
        and id(node) not in bare
    ]


@pytest.mark.parametrize("package", GENERIC)
def test_no_dimension_is_named(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} names {name!r}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if EXEMPT not in path.parents
        for line, name in named_dimensions(path.read_text(encoding="utf-8"), NAMES)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('rate = config["learning_rate"]', [(1, "learning_rate")]),
        (
            'def f(key="learning_rate"):\n    return {"x": ["learning_rate"]}',
            [(1, "learning_rate"), (2, "learning_rate")],
        ),
        ('"""learning_rate"""\ndef f():\n    "learning_rate"', []),
        ("structure.learning_rate", []),
        ('"the learning_rate of a trial".upper()', []),
    ],
    ids=["a subscript", "a default and a value", "docstrings", "an attribute", "part of a sentence"],
)
def test_a_named_dimension_is_found(source: str, found: list[tuple[int, str]]) -> None:
    assert named_dimensions(source, frozenset({"learning_rate"})) == found


def test_there_are_names_to_look_for() -> None:
    assert "unfrozen_stages" in NAMES
