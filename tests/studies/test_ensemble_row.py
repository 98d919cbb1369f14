"""The ensemble of a study is a row of its leaderboard."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studies import Study, chosen_of, ensemble_row, keep_speed, leaderboard_rows, to_cells, to_csv, with_ensemble
from training import FitResult, State, wilson
from training.lanes.results import Outputs

from ..toys import CLASSES
from .small_studies import a_study

LABELS = np.arange(12) % 3


def told(wrong: int, sure: float = 3.0) -> Outputs:
    """Right on all but every third example from `wrong` on, and less sure there."""
    right = sure * np.eye(3)[LABELS]
    values = np.where((np.arange(12) // 3 == wrong)[:, None], np.eye(3)[(LABELS + 1) % 3], right)
    return Outputs(values.astype(np.float32), LABELS, np.zeros(0, np.int64), CLASSES, "which")


def finished(study: Study, *several: Outputs) -> None:
    for outputs in several:
        right = float((outputs.values.argmax(1) == LABELS).mean())
        trial = study._study.ask()
        study._open[trial.number] = trial
        result = FitResult(State.COMPLETE, "", right, (), 1.5, 0, estimate=wilson(right, 12), parameters=100)
        study.recording.finish(trial.number, replace(result, outputs=outputs))


def rows_of(study: Study) -> list[dict[str, object]]:
    records = study.records()
    return with_ensemble(leaderboard_rows(records), study, records)


@pytest.fixture
def study(url: str) -> Study:
    study = a_study(url)
    finished(study, told(0), told(1), told(2, sure=1.0))
    return study


def test_it_stands_above_what_it_is_better_than(study: Study) -> None:
    first, *others = rows_of(study)
    assert (first["state"], first["rank"], first["number"]) == ("ensemble", None, None)
    assert (first["value"], first["n"]) == (1.0, 12)
    assert first["params"] == {"0": 0.5, "1": 0.5}
    assert (first["seconds"], first["parameters"]) == (3.0, 200)
    assert "chosen on valid" in str(first["note"])
    assert [row["rank"] for row in others] == [1, 2, 3]
    assert set(others[0]) == set(first) - {"seconds_per_image"}


def test_without_a_gain_there_is_none(url: str) -> None:
    study = a_study(url)
    finished(study, told(9), told(0), told(1))
    assert all(row["state"] == "complete" for row in rows_of(study))


def test_it_is_chosen_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows_of(study)

    def again(*_: object) -> None:
        raise AssertionError("it was remembered")

    with monkeypatch.context() as patch:
        patch.setattr(ensemble_row, "select", again)
        assert rows_of(study) == before
        finished(study, told(3))
        with pytest.raises(AssertionError):
            rows_of(study)


def test_that_there_is_none_is_remembered_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = a_study(url)
    finished(study, told(9), told(0))
    assert chosen_of(study, study.records()) is None
    monkeypatch.delattr(ensemble_row, "select")
    assert chosen_of(study, study.records()) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 1, "candidates": 3}'])
def test_a_damaged_memory_is_forgotten(study: Study, content: bytes) -> None:
    before = rows_of(study)
    (study.outputs.folder / "ensemble.json").write_bytes(content)
    assert rows_of(study) == before


def test_a_study_that_can_only_be_read_has_it_too(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, _value: object) -> None:
        raise ensemble_row.InputError(f"cannot write {path}")

    monkeypatch.setattr(ensemble_row, "atomic_write_json", refused)
    assert rows_of(study)[0]["state"] == "ensemble"


def test_outputs_of_a_trial_with_another_value_are_none_of_its(study: Study) -> None:
    kept = study.outputs.read(1)
    assert kept is not None
    study.outputs.keep(1, 0.25, kept[1])
    selection = chosen_of(study, study.records())
    assert selection is not None
    assert 1 not in selection.weights


def test_its_cost_is_known_once_it_was_trained(study: Study) -> None:
    assert rows_of(study)[0]["seconds_per_image"] is None
    selection = chosen_of(study, study.records())
    assert selection is not None
    keep_speed(study, selection, 0.005)
    assert rows_of(study)[0]["seconds_per_image"] == 0.005
    finished(study, replace(told(0), values=-told(0).values))
    assert rows_of(study)[0]["seconds_per_image"] == 0.005
    keep_speed(study, replace(selection, weights={0: 0.75, 1: 0.25}), 0.004)
    assert rows_of(study)[0]["seconds_per_image"] is None


def test_for_people_and_as_csv_its_weights_are_no_dimensions(study: Study) -> None:
    selection = chosen_of(study, study.records())
    assert selection is not None
    keep_speed(study, selection, 0.005)
    rows = rows_of(study)
    headings, cells = to_cells(rows, "accuracy")
    assert dict(zip(headings, cells[0], strict=True)) | {"note": ""} == {
        "rank": "",
        "trial": "",
        "state": "ensemble",
        "value %": "100.00",
        "n": "12",
        "95 %": cells[0][headings.index("95 %")],
        "epochs": "0",
        "s": "3.0",
        "ms/image": "5",
        "M params": "0.00",
        "seed": "0",
        "note": "",
    }
    table = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert not [name for name in table[0] if name.startswith("params.")]
    assert (table[0]["state"], table[0]["number"]) == ("ensemble", "")
