from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pomona.cli import main

from ..toys import small_weights
from .photos import tiny_photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def small(photos: Path, weights: Path) -> list[object]:
    """Options that make the fruit task small."""
    sets = ["backbone=squeezenet1_1", "resolution=96", "batch_size=16"]
    return ["--data", photos, "--weights-dir", weights, *(part for s in sets for part in ("--set", s))]
