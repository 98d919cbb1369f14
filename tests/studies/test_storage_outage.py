"""A storage that goes away while an engine runs costs no epoch and changes no trial."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import torch

import studies.database
from studies import Interrupted, Plan, Progress, Study
from training import Numerics

from ..toys import SMALL, ToyData, small_weights
from .clock import Clock
from .settings import settings_for
from .toy_plans import run_inline

EPOCHS = 3


def a_plan(weights: Path) -> Plan:
    return Plan(
        task=SMALL,
        data=ToyData(),
        trials=1,
        epochs=EPOCHS,
        timeout=None,
        device=torch.device("cpu"),
        numerics=Numerics(),
        weights_dir=weights,
        download=False,
    )


def create(file: Path) -> Study:
    return Study.create("s", str(file), settings_for(SMALL, epochs=EPOCHS), SMALL.recipe)


def table(study: Study) -> list[object]:
    return [(r.number, r.state, r.config, r.value, r.curve) for r in study.records()]


def test_lanes_are_saved_when_a_wait_for_the_storage_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.database, "_SQLITE_SECONDS", 0)
    plan = a_plan(small_weights(tmp_path))
    undisturbed = create(tmp_path / "undisturbed.db")
    list(run_inline(undisturbed, plan, lambda _progress: None))

    file = tmp_path / "studies.db"
    study = create(file)
    clock, notes = Clock(), list[str]()
    study._patience.clock, study._patience.sleep, study._patience.note = (lambda: clock.now), clock.sleep, notes.append
    other = sqlite3.connect(file, isolation_level=None)

    def watch(progress: Progress) -> None:
        if study._patience.is_checking and clock.now > 10:
            raise Interrupted("asked to")
        # In the second epoch: what it gives cannot be written.
        if progress.done > 1.5 / EPOCHS and not other.in_transaction:
            other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(Interrupted, match="asked to"):
        list(run_inline(study, plan, watch))
    other.close()
    assert notes
    # The second was saved with the lane, though not recorded.
    assert [record.curve[-1][0] for record in study.records()] == [2]

    again = Study.open("s", str(file), to_run=True)
    assert list(again.trial_folder(0).glob("000002-*/00000.safetensors"))
    done: list[float] = []
    list(run_inline(again, plan, lambda progress: done.append(progress.done)))
    assert table(again) == table(undisturbed)
    # Two epochs were saved, the second of them not recorded before.
    assert min(part for part in done if part > 0) > 2 / EPOCHS
