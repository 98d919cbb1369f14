"""Each point of the line is the model that it is said to be, and the tables say what the rows say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.fine_tune_kept import KEPT, markdown, trained
from training import LaneGroup, Prefixes, resolve
from training.models.spec import FINE_TUNE_KEPT

from ..toys import TOY, toy_backbone, toy_splits

EPOCHS = 4


def a_group(monkeypatch: pytest.MonkeyPatch) -> LaneGroup:
    monkeypatch.setattr("bench.unseen.score_shifted", lambda _group, keys: {key: Robust() for key in keys})
    splits = toy_splits()
    prefixes = Prefixes(backbones=toy_backbone, device=torch.device("cpu"))
    structure = resolve(TOY, TOY.recipe).structure(len(toy_backbone("toy").stages))
    group = LaneGroup(TOY, splits, structure, epochs=EPOCHS, seed=0, prefixes=prefixes)
    group.add(0, TOY.recipe)
    return group


class Robust:
    value = 0.5


def test_a_model_is_scored_from_what_it_was_to_what_it_became(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = a_group(monkeypatch)
    curve = [alone.train_epoch()[0].value for _ in range(EPOCHS)]
    heads = resolve(TOY, TOY.recipe).schedule.phases(2, 3, EPOCHS)[0].epochs
    splits = toy_splits()
    rows = trained(a_group(monkeypatch), TOY.recipe, {"valid": splits.valid, "held back": splits.valid})
    shares = {row["kept"]: row["shares"] for row in rows}
    assert tuple(shares) == KEPT
    assert shares[0.0]["valid"] == pytest.approx(curve[heads - 1])
    assert shares[FINE_TUNE_KEPT]["valid"] == pytest.approx(curve[-1])
    assert all(share["held back"] == share["valid"] and "elsewhere" not in share for share in shares.values())
    assert shares[1.0]["robust"] == 0.5


def a_row(task: str, kept: float, valid: float, **further: float) -> dict[str, Any]:
    shares = {"valid": valid, "robust": 0.5, "held back": 0.25} | further
    counts = {"valid": 10, "held back": 4} | dict.fromkeys(further, 8)
    return {"task": task, "config": 0, "seed": 0, "kept": kept, "n": counts, "shares": shares}


def test_a_table_holds_means_a_task_and_over_tasks() -> None:
    rows = [a_row("fruit", kept, 0.9, elsewhere=0.7) for kept in KEPT]
    rows += [a_row("fruit", kept, 0.8, elsewhere=0.6) | {"seed": 1} for kept in KEPT]
    rows += [a_row("flowers", kept, 0.65) for kept in KEPT]
    environment = {"device": "a processor", "commit": "", "python": "3", "versions": {"torch": "2"}}
    text = markdown(
        {
            "settings": {"epochs": 8, "numerics": "fp32"},
            "command": "python -m bench.fine_tune_kept",
            "environment": environment,
            "fingerprints": {"fruit": "f", "flowers": "g"},
            "rows": rows,
        }
    )
    assert "| kept   | runs   | valid, n 10   | robust   | held back, n 4   | elsewhere, n 8   |" in text
    assert "| 0.75   | 2      | 85.00         | 50.00    | 25.00            | 65.00            |" in text
    assert "| 0.75   | 75.00   | 50.00    | 25.00       |" in text
