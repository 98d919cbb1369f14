"""A cache folder that can't be written: a table's search needs none, and photos say which variable names another."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from training import Numerics
from training.data.drawn import rendered
from training.machine import files
from training.machine.digest import note
from training.models import numerics

from .conftest import Run

HINT = "POMONA_CACHE can name another folder"


@pytest.fixture(autouse=True)
def _in_the_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Path("file").write_text("kept")

    # How fast the machine is does not matter, and measuring it takes a second. The step must take some time.
    def steps(candidates: list[Numerics], device: object) -> dict[Numerics, Callable[[], int]]:
        return {one: lambda: sum(range(1000)) for one in candidates}

    monkeypatch.setattr(numerics, "_steps", steps)
    note.cache_clear()
    yield
    note.cache_clear()
    assert Path("file").read_text() == "kept"


@pytest.fixture(params=["file", "file/below", "/dev/null/x", "x" * 300, "full"])
def unusable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kinds of it that bind an administrator too, whom no permissions do."""
    if request.param == "full":
        replace = Path.replace

        def full(path: Path, target: Path) -> Path:
            if "cache" in str(target):
                raise OSError(errno.ENOSPC, "No space left on device")
            return replace(path, target)

        monkeypatch.setattr(files.Path, "replace", full)
        monkeypatch.setenv("POMONA_CACHE", "cache")
    else:
        monkeypatch.setenv("POMONA_CACHE", request.param)
    return str(request.param)


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "pomona"]


@pytest.mark.parametrize(
    "command",
    [
        ("search", "bonus", "--trials", 1, "--epochs", 1, "--storage", "j.log"),
        ("train", "bonus", "--epochs", 1, "--set", "learning_rate=0.01"),
    ],
    ids=lambda command: command[0],
)
def test_a_table_goes_on_without_and_says_so_once(
    run: Run, unusable: str, command: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pomona"):
        code, out, _ = run(*command)
    assert code == 0
    assert out
    (line,) = [line for line in _told(caplog) if "without a cache" in line]
    assert line.endswith(HINT)
    assert "\n" not in line


@pytest.mark.parametrize("from_renderer", [False, True])
def test_photos_are_one_line_that_names_the_variable(
    run: Run, unusable: str, from_renderer: bool, small: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendered, "picture_of", lambda *place: np.zeros((4, 4, 3), np.uint8))
    data = small[2:] if from_renderer else small
    shown = "fruit" if from_renderer else small[1]
    for command in (("train", "fruit", "--epochs", 1, *data), ("data", "show", shown)):
        code, out, err = run(*command)
        assert (code, out) == (1, "")
        assert err.splitlines()[-1].startswith("error: ")
        assert HINT in err.splitlines()[-1]
    assert not Path("checkpoints").exists()
