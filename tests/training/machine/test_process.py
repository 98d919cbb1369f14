"""What the package tells the process it runs in."""

import gc
import os
import platform
import subprocess
import sys

import pytest

from training.machine import memory as _memory
from training.machine import openmp as _openmp


def spin_count_of_a_process(**given: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import os, training; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=kept | given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_threads_spin_by_how_busy_the_machine_is_unless_told() -> None:
    assert spin_count_of_a_process() in (_openmp.IDLE, _openmp.BUSY)
    assert spin_count_of_a_process(GOMP_SPINCOUNT="7") == "7"
    assert spin_count_of_a_process(OMP_WAIT_POLICY="PASSIVE") == "None"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another one here")
def test_memory_is_kept_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert _memory.keep_memory()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not _memory.keep_memory()


def test_what_is_imported_is_kept_from_the_collector() -> None:
    _memory.spare_the_collector.cache_clear()
    before = gc.get_freeze_count()
    _memory.spare_the_collector()
    assert gc.get_freeze_count() > max(before, 1000)
