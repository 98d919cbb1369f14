"""Dimensions are named by tasks and by the specs of training, so that a new one touches these and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from search_spaces import TASKS

ROOT = Path(__file__).resolve().parents[1]
GENERIC = ("studies", "bench")
NAMES = frozenset(name for task in TASKS for name in task.space.dimensions)


def named_dimensions(source: str, names: frozenset[str]) -> list[tuple[int, str]]:
    """Line and name of every dimension in `source`: as a string, a keyword, or `name=` in a string.

    Docstrings and other bare strings do not count, nor do the keywords of torch's functions and the keys of its groups
    of parameters, which are torch's own words.
    """
    assigned = re.compile(rf"(?<![\w.-])({'|'.join(sorted(names))})=(?!=)")
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    torchs = {id(word) for node in ast.walk(tree) for word in _words_of_torch(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in torchs:
            continue
        if isinstance(node, ast.keyword) and node.arg in names:
            found.append((node.value.lineno, node.arg))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            exact = [node.value] if node.value in names else []
            found += [(node.lineno, name) for name in (*exact, *assigned.findall(node.value))]
    return found


def _words_of_torch(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Call):
        called = node.func
        while isinstance(called, ast.Attribute):
            called = called.value
        if isinstance(called, ast.Name) and called.id in ("torch", "nn", "F"):
            return [*node.keywords]
    elif isinstance(node, ast.Dict):
        keys = [key for key in node.keys if isinstance(key, ast.Constant)]
        return [*keys] if any(key.value == "params" for key in keys) else []
    return []


def config_reads(source: str, names: frozenset[str]) -> list[tuple[int, str]]:
    """Line and name of every dimension that is read from a config by its key."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Subscript(value=read, slice=ast.Constant(value=str(name))):
                pass
            case ast.Call(func=ast.Attribute(value=read, attr="get" | "pop"), args=[ast.Constant(value=str(name)), *_]):
                pass
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()], comparators=[read]):
                pass
            case _:
                continue
        if name in names and re.search(r"(config|configs\[.*\]|recipe)$", ast.unparse(read)):
            found.append((node.lineno, name))
    return found


def test_training_reads_a_config_only_where_it_becomes_a_spec() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} reads {name!r}"
        for path in sorted((ROOT / "training").rglob("*.py"))
        for line, name in config_reads(path.read_text(encoding="utf-8"), NAMES)
    ]
    assert found == []


@pytest.mark.parametrize("package", GENERIC)
def test_no_dimension_is_named(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} names {name!r}"
        for path in sorted((ROOT / package).rglob("*.py"))
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
        ("dict(learning_rate=0.1)", [(1, "learning_rate")]),
        ("Config(backbone, learning_rate=rate)", [(1, "learning_rate")]),
        ('run("--set", "learning_rate=0.1")', [(1, "learning_rate")]),
        ('run("pomona search fruit --set learning_rate=1e-4..1e-1")', [(1, "learning_rate")]),
        ('settings = [f"learning_rate={rate}"]', [(1, "learning_rate")]),
        ('"""pomona train --set learning_rate=0.1"""', []),
        ("learning_rate = 0.1", []),
        ("torch.optim.Fast(parameters, learning_rate=0.1)", []),
        ("torch.optim.Fast(parameters, **dict(learning_rate=0.1))", [(1, "learning_rate")]),
        ('{"params": parameters, "learning_rate": 0.1}', []),
        ('{"params": parameters, "others": "learning_rate"}', [(1, "learning_rate")]),
        ('run("--old_learning_rate=0.1", "x.learning_rate==1")', []),
    ],
    ids=[
        *("a subscript", "a default and a value", "docstrings", "an attribute", "part of a sentence"),
        *("a keyword of dict", "a keyword", "an assignment", "an assignment among others", "an f-string"),
        *("an assignment in a docstring", "a variable"),
        *("a keyword of torch", "a keyword of dict for torch", "a key of torch", "a value beside it", "other names"),
    ],
)
def test_a_named_dimension_is_found(source: str, found: list[tuple[int, str]]) -> None:
    assert named_dimensions(source, frozenset({"learning_rate"})) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('float(config["dropout"])', [(1, "dropout")]),
        ('record.config.get("dropout", 0.0)', [(1, "dropout")]),
        ('int(configs[0]["dropout"])', [(1, "dropout")]),
        ('"dropout" not in task.recipe', [(1, "dropout")]),
        ('group["dropout"] + config["depth"] + config[name]', []),
    ],
    ids=["a subscript", "get", "one of several", "in", "other things"],
)
def test_a_read_of_a_config_is_found(source: str, found: list[tuple[int, str]]) -> None:
    assert config_reads(source, frozenset({"dropout"})) == found


def test_there_are_names_to_look_for() -> None:
    assert "unfrozen_stages" in NAMES
