"""Which searches the default pruner judges."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from ..trained import texts_file
from .conftest import Run


class EveryTrial(optuna.pruners.BasePruner):
    """Gives up every trial at its first epoch."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


@pytest.mark.parametrize(("task", "pruned"), [("sms_spam", True), ("bonus", False)])
def test_networks_that_are_trained_whole_are_pruned_and_rungs_halve_by_themselves(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, pruned: bool
) -> None:
    monkeypatch.setattr("studies.study.make_pruner", lambda *_: EveryTrial())
    data = ["--data", texts_file(tmp_path / "texts.tsv")] if task == "sms_spam" else []
    code, _, err = run("search", task, "--trials", 3, "--epochs", 3, "--json", *data)
    assert code == 0, err
    rows = json.loads(run("leaderboard", f"{task}-1", "--json")[1])
    states = sorted(row["state"] for row in rows)
    # The recipe is the baseline and runs to its end.
    assert states == (["complete", "pruned", "pruned"] if pruned else ["complete"] * 3)
