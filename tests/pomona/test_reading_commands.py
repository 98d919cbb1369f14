"""Commands that only read a study need nothing of what trains one, and stay quick for ten thousand trials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT = """
import sys
from pomona.cli import main
code = main(sys.argv[2:])
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"loaded {loaded}" if loaded else code)
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pomona import search

    path = tmp_path_factory.mktemp("reading") / "j.log"
    search("bonus", trials=2, epochs=1, storage=str(path), study="s")
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["status", "s"],
        ["status", "s", "--json"],
        ["leaderboard", "s"],
        ["leaderboard", "s", "--format", "json"],
        ["leaderboard", "s", "--format", "md"],
        ["studies", "list"],
    ],
    ids=" ".join,
)
def test_they_load_neither_torch_nor_pandas(command: list[str], storage: Path) -> None:
    heavy = "torch,pandas,sklearn,scipy,matplotlib"
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, heavy, *command, "--storage", str(storage)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_list_of_tasks_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, "torch,pandas,optuna,numpy", "tasks"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
