from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.machine import files
from training.machine.files import atomic_write_bytes
from training.machine.interrupts import SaveClock, interrupt, uninterrupted


def test_an_interrupt_takes_effect_at_once_or_when_all_that_belongs_together_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with uninterrupted():
            interrupt()
            with uninterrupted():
                interrupt()
                done.append("inner")
            done.append("outer")
        done.append("after")
    assert done == ["inner", "outer"]
    with uninterrupted():  # nothing is left of it
        pass


def test_what_another_thread_does_defers_nothing() -> None:
    inside, go = threading.Event(), threading.Event()

    def work() -> None:
        with uninterrupted():
            inside.set()
            go.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    finally:
        go.set()
        thread.join()


def test_a_file_is_whole_though_the_interrupt_comes_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = files.os.fsync

    def interrupted(handle: int) -> None:
        interrupt()
        fsync(handle)

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write_bytes(tmp_path / "file", b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"whole")]


@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 30)), min_size=5, max_size=50))
def test_saving_takes_a_small_share_of_the_time(work: list[tuple[float, float]]) -> None:
    """Pairs of seconds: an epoch, and the save after it if one is due."""
    now = saving = 0.0
    clock = SaveClock(lambda: now)
    since = 0.0
    for epoch, save in work:
        now += epoch
        since += epoch
        if clock.due():
            assert since >= 2
            with clock.saving():
                now += save
            saving, last, since = saving + save, save, 0.0
        elif saving:
            assert since < max(2.0, last / 0.03) + 1e-6
    assert saving <= 0.031 * now + max(save for _, save in work)
