"""Every command of the README runs as it stands there; `make search` and `make test` run in CI itself."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .pomona.photos import tiny_photos

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
MADE_BY_CI = {"make search", "make test"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.strip().splitlines()]


def test_ci_runs_what_the_readme_asks_of_make() -> None:
    script = (ROOT / ".ci/run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert {command for command in commands() if command.startswith("make")} == MADE_BY_CI
    assert "make search" in script
    assert "make check" in script
    assert "$(MAKE) test" in makefile.split("check:")[1].split("\n\n")[0]


@pytest.mark.slow
def test_every_other_command_runs_as_it_stands(tmp_path: Path) -> None:
    tiny_photos(tmp_path / "photos")
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    rest = [command for command in commands() if command not in MADE_BY_CI]
    assert len(rest) >= 8
    for command in rest:
        program, *arguments = shlex.split(command)
        assert program == "pomona", command
        call = [sys.executable, "-m", "pomona", *arguments]
        if arguments[0] == "dashboard":
            with subprocess.Popen(call, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
                assert process.stderr is not None
                assert "http://127.0.0.1" in process.stderr.readline()
                process.send_signal(signal.SIGINT)
            assert process.returncode == 0
            continue
        done = subprocess.run(call, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout.strip(), command
    (notebook,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", notebook], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
