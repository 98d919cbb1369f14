"""What a process is told, by whom, and what stands against it."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys

import pytest

from training.machine import process
from training.machine.process import BUSY, IDLE, Settings

_THEIRS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", process.SWITCH)
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another one here")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process that was told nothing yet, and in which torch is still to come."""
    monkeypatch.setattr(process, "_settings", None)
    monkeypatch.delitem(sys.modules, "torch")
    for name in _THEIRS:
        # Set first, so that it is put back whatever `configure` makes of it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_it_says_what_it_did_and_does_it_once(fresh: pytest.MonkeyPatch) -> None:
    told = process.configure()
    spin = os.environ["GOMP_SPINCOUNT"]
    assert spin in (IDLE, BUSY)
    assert f"GOMP_SPINCOUNT={spin}" in told.openmp
    assert told.spares
    assert len(told.lines) == 3
    del os.environ["GOMP_SPINCOUNT"]
    assert process.configure() is told
    assert "GOMP_SPINCOUNT" not in os.environ


@glibc
def test_memory_is_kept(fresh: pytest.MonkeyPatch) -> None:
    assert process.configure().allocator == "blocks up to 32 MiB are kept, 1 GiB in all"


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_a_user_s_own_threads_stand(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv(name, "7")
    assert process.configure().openmp == f"as it was: {name} is set"
    assert os.environ[name] == "7"


@glibc
def test_a_user_s_own_memory_stands(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert process.configure().allocator == "as it was: MALLOC_TRIM_THRESHOLD_ is set"


def test_threads_that_are_there_already_are_told_nothing(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "torch", gc)
    assert process.configure().openmp == "as it was: torch was imported before"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_all_of_it_can_be_switched_off(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(process.SWITCH, "off")
    told = process.configure()
    assert {told.allocator, told.openmp, told.collector} == {"as it was: POMONA_CONFIGURE is off"}
    assert not told.spares
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize(
    ("settings", "spared"), [(None, False), (Settings("", "", "", spares=False), False), (Settings("", "", ""), True)]
)
def test_the_collector_is_kept_off_what_is_imported_where_that_was_configured(
    monkeypatch: pytest.MonkeyPatch, settings: Settings | None, spared: bool
) -> None:
    process._spare_once.cache_clear()
    calls: list[str] = []
    monkeypatch.setattr(process, "_settings", settings)
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    process.spare_the_collector()
    process.spare_the_collector()
    assert calls == ["freeze"] * spared


def test_a_command_says_what_its_process_was_told() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in _THEIRS}
    command = [sys.executable, "-m", "pomona", "--version", "--verbose"]
    told = {}
    for value in ("on", "off"):
        done = subprocess.run(command, env=kept | {process.SWITCH: value}, capture_output=True, text=True, check=True)
        version, *told[value] = done.stdout.splitlines()
        assert version.startswith("pomona ")
        assert len(told[value]) == 3
    assert all("POMONA_CONFIGURE is off" in line for line in told["off"])
    assert "GOMP_SPINCOUNT" in told["on"][1]


def test_a_function_for_notebooks_configures_and_importing_pomona_does_not() -> None:
    code = """
import pomona
from training.machine import process
assert process._settings is None
try:
    pomona.leaderboard(7)
except pomona.InputError:
    pass
assert process._settings is not None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
