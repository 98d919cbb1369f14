"""The names of `training` itself: loaded when they are first used, whatever was imported before."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import training
from training import _HOME

# Functions that have the name of their module.
SHARED = sorted(name for name, module in _HOME.items() if name == module)


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(training.__file__ or "").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.asname: node.module for node in imports for alias in node.names} == _HOME


@pytest.mark.parametrize("name", _HOME)
def test_every_name_is_that_of_its_module(name: str) -> None:
    assert getattr(training, name) is getattr(importlib.import_module(f"training.{_HOME[name]}"), name)


def test_there_are_functions_named_like_their_module() -> None:
    assert {"augment", "environment", "evaluate", "fit"} <= set(SHARED)


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "import training.{0}",
        "from training.{0} import {0}",
        "import training.{0} as _",
        "import training.lanes",
    ],
)
def test_a_function_named_like_its_module_is_the_function(before: str) -> None:
    lines = [line for name in SHARED for line in (before.format(name), f"from training import {name}")]
    check = f"assert all(callable(one) for one in ({', '.join(SHARED)}))"
    done = subprocess.run([sys.executable, "-c", "\n".join([*lines, check])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_modules_are_modules() -> None:
    from training import vision

    assert isinstance(vision, types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = training.nonsense  # type: ignore[attr-defined]
