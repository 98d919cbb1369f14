"""Importing any module of ours changes nothing of the process that it is imported into."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_import_wall import ORDER, ROOT, Tree

# Run in a process of its own. It imports what ours need before it looks, as other libraries may do as they like.
_CODE = """
import gc, importlib, json, logging, multiprocessing, os, signal, sys, threading, warnings

theirs, ours = json.loads(sys.argv[1])
for name in theirs:
    try:
        importlib.import_module(name)
    except Exception:
        pass
import torch

def state():
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "types of torch": (torch.get_default_dtype(), torch.get_default_device(), torch.get_float32_matmul_precision()),
        "random numbers": torch.get_rng_state().tolist(),
        "gradients": torch.is_grad_enabled(),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "logging": (list(logging.root.handlers), logging.root.level, logging.getLogger("pomona").handlers),
        "processes": multiprocessing.get_start_method(allow_none=True),
        "hook": sys.excepthook,
        "threads": threading.active_count(),
    }

before = state()
changed = []
for name in ours:
    importlib.import_module(name)
    after = state()
    changed += [f"{name} changes {part}" for part in before if before[part] != after[part]]
    before = after
print(json.dumps(changed))
"""


def changes(theirs: list[str], ours: list[str], *folders: Path) -> list[str]:
    """What importing `ours` changes, one module after the other, in a process that has imported `theirs`."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps([theirs, ours])],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_import(node)


def others_imported(tree: Tree) -> list[str]:
    """What our modules import of others as they are imported."""
    names = set()
    for file in tree.files.values():
        for node in at_import(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module)
    return sorted(name for name in names if name.partition(".")[0] not in ORDER)


@pytest.mark.slow
def test_importing_ours_changes_nothing_of_the_process() -> None:
    tree = Tree(ROOT)
    ours = [module for module in tree.files if not module.endswith("__main__")]
    assert len(ours) > 200
    assert changes(others_imported(tree), ours) == []


def test_importing_the_packages_changes_nothing_and_a_change_would_be_seen(tmp_path: Path) -> None:
    """In one process, as each takes seconds to import torch."""
    quiet = ["pomona", *ORDER, "training.machine.process", "training.lanes.group"]
    loud = {
        "told": ("environment", "import os; os.environ['GOMP_SPINCOUNT'] = '7'"),
        "hushed": ("warnings", "import warnings; warnings.simplefilter('ignore')"),
        "threaded": ("threads of torch", "import torch; torch.set_num_threads(3)"),
        "frozen": ("collector", "import gc; gc.freeze()"),
    }
    for name, (_, text) in loud.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert changes([], [*quiet, *loud], tmp_path) == [f"{name} changes {part}" for name, (part, _) in loud.items()]


def test_what_is_run_from_the_command_line_configures_its_process() -> None:
    """All but what computes nothing with torch."""
    mains = {file: (ROOT / file).read_text(encoding="utf-8") for file in Tree(ROOT).files.values()}
    mains = {file: text for file, text in mains.items() if 'if __name__ == "__main__":' in text}
    without = {file for file, text in mains.items() if "configure()" not in text}
    assert without == {"bench/compare.py", "pomona/onnx_predict.py"}
