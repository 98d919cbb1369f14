"""What several tests of studies need: a quiet Optuna, and a place for a journal."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

# Its asserts would show no values otherwise.
pytest.register_assert_rewrite("tests.studies.journals")


@pytest.fixture(scope="module")
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "journal.log")
