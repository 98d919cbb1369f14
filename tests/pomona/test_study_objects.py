"""Studies are passed as objects: what `pomona.search` returned knows where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

import pomona
from search_spaces import InputError
from studies import Study


def searched(storage: str, study: str) -> Study:
    return pomona.search("bonus", trials=2, epochs=1, storage=storage, study=study)


def test_a_study_in_another_storage_is_not_mistaken_for_one_of_its_name(tmp_path: Path) -> None:
    here, there = str(tmp_path / "a.log"), str(tmp_path / "b.log")
    first, _ = searched(here, "first"), searched(there, "first")
    with pytest.raises(InputError, match=r"warm_start: study first is in .*a\.log, not in .*b\.log: search there"):
        pomona.search("bonus", trials=2, epochs=1, storage=there, study="second", warm_start=first)
    again = pomona.search("bonus", trials=3, epochs=1, storage=here, study="second", warm_start=[first])
    assert any("from first trial" in record.note for record in again.records())


def test_a_study_in_memory_is_read_while_it_lives() -> None:
    study = searched("sqlite://", "passing")
    frame = pomona.leaderboard(study)
    assert sorted(frame["number"]) == [0, 1]
    assert set(pomona.curves(study)["number"]) <= {0, 1}
    with pytest.raises(InputError, match="in memory"):
        pomona.leaderboard("passing", storage="sqlite://")
