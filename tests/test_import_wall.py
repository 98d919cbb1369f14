"""Imports point one way: search_spaces <- training <- studies <- bench <- pomona, and no two modules need each other.

Read from the syntax trees, so that an import inside a function counts as well. The checks themselves are tried on small
made-up trees at the end of this file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each package may import the ones before it.
ORDER = ("search_spaces", "training", "studies", "bench", "pomona")
# So may each room of `training`.
ROOMS = ("machine", "data", "models", "scoring", "frozen", "lanes", "export")


@dataclass(frozen=True)
class Rule:
    """`distribution` may only be imported in files below one of `allowed` (a folder with its slash, or one file)."""

    distribution: str
    allowed: tuple[str, ...]
    reason: str


RULES = (
    Rule("torch", ("training/", "studies/", "bench/", "pomona/"), "a space is plain data and loads at once"),
    Rule("pandas", ("studies/", "bench/", "pomona/"), "the core runs where there is only torch"),
    Rule("optuna", ("studies/", "bench/peers/", "bench/scaling/"), "who knows how trials are kept and suggested"),
    Rule("optuna_dashboard", ("studies/", "pomona/commands/dashboard.py"), "the command that shows it"),
    Rule(
        "ray",
        ("studies/edges/", "studies/engines/ray.py", "pomona/ray.py", "bench/peers/"),
        "an extra: everything else works without it",
    ),
    Rule("torchvision", ("training/machine/vision.py",), "it fails on some machines unless loaded with care"),
    Rule("timm", ("training/machine/vision.py",), "it imports torchvision"),
    Rule(
        "onnx",
        ("training/export/onnx.py", "training/export/export_int8.py"),
        "an extra: everything else works without it",
    ),
    Rule(
        "onnxruntime",
        ("training/export/onnx.py", "training/export/export_int8.py", "pomona/onnx_predict.py"),
        "an extra: everything else works without it",
    ),
)

# Runs where there is nothing but torch and torchvision, so nothing that it reaches may lead to a study.
STANDALONE = ("bench.throughput", ("studies", "pomona"))


@dataclass(frozen=True)
class Import:
    """`module` imports `target` (a dotted name) on `line`."""

    module: str
    target: str
    line: int


class Tree:
    """The modules of some top-level packages below one folder, and what they import."""

    def __init__(self, root: Path, packages: tuple[str, ...] = ORDER) -> None:
        self.files = {
            _module_name(path.relative_to(root)): path.relative_to(root).as_posix()
            for package in packages
            for path in sorted((root / package).rglob("*.py"))
        }
        self.imports = [
            found
            for module, file in self.files.items()
            # The names of a lazy package stand in its stub.
            for path in (root / file, (root / file).with_suffix(".pyi"))
            if path.exists()
            for found in self._imports_of(module, ast.parse(path.read_text(encoding="utf-8"), str(path)))
        ]

    def _imports_of(self, module: str, tree: ast.Module) -> Iterator[Import]:
        for node in ast.walk(tree):
            for target in self._targets(module, node):
                yield Import(module, target, getattr(node, "lineno", 0))

    def _targets(self, module: str, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(name, names, level):
                base = self._absolute(module, name, level or 0)
                for alias in names:
                    below = f"{base}.{alias.name}"
                    yield below if below in self.files else base
            case ast.Call(
                ast.Attribute(attr="import_module") | ast.Name("import_module" | "__import__"),
                [ast.Constant(str(name)), *_],
            ):
                yield name

    def _absolute(self, module: str, name: str | None, level: int) -> str:
        if level == 0:
            return name or ""
        package = module if self.files[module].endswith("__init__.py") else module.rpartition(".")[0]
        for _ in range(level - 1):
            package = package.rpartition(".")[0]
        return f"{package}.{name}" if name else package

    def where(self, found: Import) -> str:
        return f"{self.files[found.module]}:{found.line} imports {found.target}"


def _module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _top(name: str) -> str:
    return name.partition(".")[0]


def wrong_way(tree: Tree) -> list[str]:
    """Imports of a package of ours that stands later in the order."""
    rank = {package: place for place, package in enumerate(ORDER)}
    return [
        tree.where(found)
        for found in tree.imports
        if _top(found.target) in rank and rank[_top(found.target)] > rank[_top(found.module)]
    ]


def upstairs(tree: Tree, package: str = "training", rooms: tuple[str, ...] = ROOMS) -> list[str]:
    """Imports from one room of `package` of what stands in a later room, or in the front of them all."""
    rank = {f"{package}.{room}": place for place, room in enumerate(rooms)}

    def place_of(module: str) -> int | None:
        return len(rooms) if module == package else rank.get(".".join(module.split(".")[:2]))

    found = []
    for one in tree.imports:
        here, there = place_of(one.module), place_of(one.target)
        if here is not None and there is not None and there > here:
            found.append(tree.where(one))
    return found


def out_of_place(tree: Tree, rules: tuple[Rule, ...] = RULES) -> list[str]:
    """Imports of a library where its rule does not allow it."""
    return [
        f"{tree.where(found)}: only in {', '.join(rule.allowed)}, as {rule.reason}"
        for found in tree.imports
        for rule in rules
        if _top(found.target) == rule.distribution and not _allowed(tree.files[found.module], rule)
    ]


def _allowed(file: str, rule: Rule) -> bool:
    return any(file.startswith(place) if place.endswith("/") else file == place for place in rule.allowed)


def reached(tree: Tree, start: str) -> set[str]:
    """Modules of ours that are loaded, at once or later, when those whose name begins with `start` are."""
    waiting = [module for module in tree.files if module.startswith(start)]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen or module not in tree.files:
            continue
        seen.add(module)
        # Importing a.b.c runs a and a.b as well.
        waiting += [module.rpartition(".")[0]]
        waiting += [found.target for found in tree.imports if found.module == module]
    return seen


def cycle(tree: Tree) -> list[str]:
    """Modules that need each other, as a path; empty where there are none.

    An import inside a function or for types only counts too: it hides a cycle from Python, not from whoever reads it.
    """
    graph: dict[str, set[str]] = {module: set() for module in tree.files}
    for found in tree.imports:
        if found.target in tree.files:
            graph[found.module].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


# --- ours


@pytest.fixture(scope="module")
def ours() -> Tree:
    return Tree(ROOT)


def test_every_package_is_looked_at(ours: Tree) -> None:
    assert {_top(module) for module in ours.files} == set(ORDER)


def test_no_import_points_the_wrong_way(ours: Tree) -> None:
    assert wrong_way(ours) == []


def test_no_room_imports_from_a_later_one(ours: Tree) -> None:
    assert upstairs(ours) == []


def test_every_module_of_the_core_stands_in_a_room() -> None:
    assert {path.name for path in (ROOT / "training").glob("*.py")} == {"__init__.py"}
    assert {path.name for path in (ROOT / "training").iterdir() if (path / "__init__.py").exists()} == set(ROOMS)


def test_libraries_stay_in_their_place(ours: Tree) -> None:
    assert out_of_place(ours) == []


def test_the_throughput_benchmark_reaches_no_study(ours: Tree) -> None:
    start, forbidden = STANDALONE
    assert [module for module in sorted(reached(ours, start)) if _top(module) in forbidden] == []


def test_no_modules_need_each_other(ours: Tree) -> None:
    assert cycle(ours) == []


# --- the checks, on made-up trees


def made_up(folder: Path, **files: str) -> Tree:
    """`training__data="..."` becomes training/data.py; every package gets an empty `__init__`."""
    for package in ORDER:
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return Tree(folder)


@pytest.mark.parametrize(
    "text",
    [
        "import studies.storage",
        "from studies import storage",
        "def later():\n    import studies.storage",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from studies.storage import open_storage",
        "try:\n    import studies\nexcept ImportError:\n    pass",
        "import importlib\nimportlib.import_module('studies.storage')",
        "class Late:\n    async def run(self):\n        from studies import storage",
    ],
)
def test_an_import_the_wrong_way_is_found(tmp_path: Path, text: str) -> None:
    assert len(wrong_way(made_up(tmp_path, training__fit=text))) == 1


def test_an_import_the_right_way_is_none_of_that(tmp_path: Path) -> None:
    tree = made_up(tmp_path, studies__run="import training\nfrom search_spaces import TASKS\nfrom . import storage")
    assert wrong_way(tree) == []
    assert {found.target for found in tree.imports} == {"training", "search_spaces", "studies"}


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("machine/cache", "from ..models import weights", 1),
        ("machine/cache", "def late():\n    import training.models.weights", 1),
        ("machine/cache", "from training import fit", 1),
        ("models/heads", "from ..machine.cache import folder", 0),
        ("models/heads", "from . import weights\nimport torch", 0),
    ],
)
def test_an_import_from_a_later_room_is_found(tmp_path: Path, file: str, text: str, wrong: int) -> None:
    for room in ROOMS:
        (tmp_path / "training" / room).mkdir(parents=True)
        (tmp_path / "training" / room / "__init__.py").write_text("")
    (tmp_path / "training/__init__.py").write_text("from .machine import cache")
    (tmp_path / "training/models/weights.py").write_text("")
    (tmp_path / f"training/{file}.py").write_text(text)
    assert len(upstairs(Tree(tmp_path, ("training",)))) == wrong


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("search_spaces__fruit", "import torch.nn", 1),
        ("training__fit", "import torch", 0),
        ("training__fit", "def table():\n    import pandas as pd", 1),
        ("training__fit", "from torchvision.models import vgg16", 1),
        ("training__machine__vision", "import torchvision, timm", 0),
        ("training__models__vision", "import torchvision, timm", 2),
        ("studies__engines__ray", "import ray", 0),
        ("studies__engines__local", "import ray", 1),
        ("studies__edges__ray", "import ray.tune", 0),
        ("bench__peers", "import optuna", 1),
        ("pomona__commands__dashboard", "import optuna_dashboard", 0),
        ("pomona__commands__dashboard", "import optuna", 1),
        ("pomona__commands__report", "import optuna_dashboard", 1),
        ("studies__run", "import rays_of_light", 0),
    ],
)
def test_a_library_out_of_place_is_found(tmp_path: Path, file: str, text: str, wrong: int) -> None:
    for part in ("training/machine", "training/models", "studies/engines", "studies/edges", "pomona/commands"):
        (tmp_path / part).mkdir(parents=True)
    for package in ORDER:
        (tmp_path / package).mkdir(exist_ok=True)
    (tmp_path / (file.replace("__", "/") + ".py")).write_text(text)
    assert len(out_of_place(Tree(tmp_path))) == wrong


def test_what_a_benchmark_reaches_is_followed_through_other_modules(tmp_path: Path) -> None:
    tree = made_up(
        tmp_path,
        bench__throughput="from . import table",
        bench__table="def show():\n    from .scaling import rows",
        bench__scaling="import studies",
        bench__search_speed="import pomona",
    )
    assert reached(tree, "bench.throughput") == {"bench", "bench.throughput", "bench.table", "bench.scaling", "studies"}


@pytest.mark.parametrize(
    ("a", "b", "modules"),
    [
        pytest.param("from . import b", "from .a import x", {"training.a", "training.b"}, id="two modules"),
        pytest.param("import training.a", "", {"training.a"}, id="a module that imports itself"),
        pytest.param("from training import b", "import training.a", {"training.a", "training.b"}, id="by full names"),
        pytest.param(
            "from . import b",
            "def late():\n    from . import a",
            {"training.a", "training.b"},
            id="one of them later",
        ),
        pytest.param(
            "from . import b",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a",
            {"training.a", "training.b"},
            id="one of them for types",
        ),
        pytest.param("from . import b", "import json", set(), id="one direction"),
    ],
)
def test_a_cycle_is_found(tmp_path: Path, a: str, b: str, modules: set[str]) -> None:
    assert set(cycle(made_up(tmp_path, training__a=a, training__b=b))) == modules


def test_a_package_and_its_module_can_form_a_cycle(tmp_path: Path) -> None:
    made_up(tmp_path, training__a="from . import version")
    (tmp_path / "training/__init__.py").write_text("from .a import x\nversion = 1")
    assert set(cycle(Tree(tmp_path))) == {"training", "training.a"}
