"""A saved lane that is damaged costs its trial what was trained, and nobody anything else."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import BONUS
from studies import Interrupted, Outcome, Plan, Progress, Study
from studies.driver import run_study
from studies.engines import InlineEngine
from training import Numerics, open_data
from training.machine.digest import note

from .settings import settings_for

TASK = replace(BONUS, recipe=BONUS.recipe | {"learning_rate": 0.05})
EPOCHS = 4


def _plan(lanes: int) -> Plan:
    return Plan(
        task=TASK,
        data=open_data(None, TASK),
        trials=3,
        epochs=EPOCHS,
        timeout=None,
        device=torch.device("cpu"),
        numerics=Numerics(),
        weights_dir=None,
        download=False,
        lanes=lanes,
    )


def _study(url: Path) -> Study:
    return Study.create("s", str(url), settings_for(TASK, epochs=EPOCHS, pruner="none"), TASK.recipe)


@pytest.mark.parametrize("damage", ["a flipped bit", "no file of ours"])
def test_the_search_goes_on_and_the_trial_begins_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    note.cache_clear()
    engine, plan = InlineEngine(), _plan(1)
    undisturbed = list(run_study(_study(tmp_path / "undisturbed"), plan, engine, lambda _: None))

    study = _study(tmp_path / "damaged")
    ended: list[Outcome] = []

    def stop_in_the_second_trial(progress: Progress) -> None:
        if len(ended) == 1 and progress.done > 0.6:
            raise Interrupted("now")

    with suppress(Interrupted):
        for outcome in run_study(study, plan, engine, stop_in_the_second_trial):
            ended.append(outcome)
    (lane,) = study.folder.glob("trials/*/*/*.safetensors")
    content = bytearray(lane.read_bytes())
    content[-1] ^= 1
    lane.write_bytes(content if damage == "a flipped bit" else b"{}")
    with caplog.at_level(logging.WARNING, "pomona"):
        rest = list(run_study(Study.open("s", str(tmp_path / "damaged")), plan, engine, lambda _: None))
    assert [outcome.number for outcome in rest] == [1, 2]
    assert [outcome.result.value for outcome in rest] == [outcome.result.value for outcome in undisturbed[1:]]
    assert [record.getMessage() for record in caplog.records if str(lane) in record.getMessage()]
