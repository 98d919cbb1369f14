"""The names of packages that load them when they are first used, whatever was imported before."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import studies
import training

PACKAGES = [training, studies]
HOME = {
    package.__name__: {name: module for module, names in package._NAMES.items() for name in names}
    for package in PACKAGES
}
# Functions that have the name of their module.
SHARED = {package: sorted(name for name, module in home.items() if name == module) for package, home in HOME.items()}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_type_checkers_see_is_what_there_is(package: types.ModuleType) -> None:
    tree = ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.asname: node.module for node in imports for alias in node.names} == HOME[package.__name__]


@pytest.mark.parametrize(("package", "name"), [(package, name) for package, home in HOME.items() for name in home])
def test_every_name_is_that_of_its_module(package: str, name: str) -> None:
    found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(f"{package}.{HOME[package][name]}"), name)


def test_there_are_functions_named_like_their_module() -> None:
    assert "leaderboard" in SHARED["studies"]


@pytest.mark.parametrize(
    ("package", "before"),
    [
        ("studies", "import {0}.{1}"),
        ("studies", "from {0}.{1} import {1}"),
        ("studies", "import {0}.{1} as _"),
    ],
)
def test_a_function_named_like_its_module_is_the_function(package: str, before: str) -> None:
    lines = [
        line
        for name in SHARED[package]
        for line in (before.format(package, name), f"from {package} import {name}", f"assert callable({name})")
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_modules_are_modules() -> None:
    from training.machine import vision

    assert isinstance(vision, types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = training.nonsense  # type: ignore[attr-defined]
