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


def home_of(package: types.ModuleType) -> dict[str, str]:
    """Name -> the module that defines it, as the package's stub says."""
    tree = ast.parse(Path(package.__file__ or "").with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


HOME = {package.__name__: home_of(package) for package in PACKAGES}
# Functions that have the name of their module.
SHARED = {package: sorted(name for name, module in home.items() if name == module) for package, home in HOME.items()}


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_package_lists_its_names(package: types.ModuleType) -> None:
    names = HOME[package.__name__]
    assert names
    assert set(package.__all__) == set(dir(package)) == set(names)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense


@pytest.mark.parametrize(("package", "name"), [(package, name) for package, home in HOME.items() for name in home])
def test_every_name_is_that_of_its_module(package: str, name: str) -> None:
    found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(f"{package}.{HOME[package][name]}"), name)


def test_there_are_functions_named_like_their_module() -> None:
    assert "leaderboard" in SHARED["studies"]


@pytest.mark.parametrize("before", ["import {0}.{1}", "from {0}.{1} import {1}", "import {0}.{1} as _"])
def test_a_function_named_like_its_module_is_the_function(before: str) -> None:
    run(
        "\n".join(
            line
            for package, names in SHARED.items()
            for name in names
            for line in (before.format(package, name), f"from {package} import {name}", f"assert callable({name})")
        )
    )


def test_other_modules_are_modules() -> None:
    from training.machine import vision

    assert isinstance(vision, types.ModuleType)


def test_without_the_library_the_modules_of_the_core_are_there_and_its_names_are_not() -> None:
    run("""
import sys
sys.modules["lazy_loader"] = None
import training.machine.process
try:
    training.fit
except AttributeError:
    sys.exit(0)
sys.exit("fit is there")
""")
