"""A row says what was trained, and heads and stages have tables of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.settled import SMOOTHING, _first_seen, markdown, trained
from search_spaces import task_named
from search_spaces.benchmarks import settled_configs
from training import LaneGroup, Prefixes, resolve, spec_of

from ..toys import TOY, toy_backbone, toy_splits


class Robust:
    value = 0.5


def test_a_model_is_scored_after_its_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.unseen.score_shifted", lambda _group, keys: {key: Robust() for key in keys})
    config = TOY.recipe | {"label_smoothing": 0.1}
    splits = toy_splits()

    def group() -> LaneGroup:
        prefixes = Prefixes(backbones=toy_backbone, device=torch.device("cpu"))
        structure = resolve(TOY, config).structure(len(toy_backbone("toy").stages))
        made = LaneGroup(TOY, splits, structure, epochs=3, seed=0, prefixes=prefixes)
        made.add(0, config)
        return made

    alone = group()
    last = [alone.train_epoch()[0].value for _ in range(3)][-1]
    (row,) = trained(group(), config, {"valid": splits.valid})
    assert row["shares"] == {"valid": pytest.approx(last), "robust": 0.5}
    assert (row["optimizer, smoothing"], row["kind"]) == ("adamw, 0.1", "toy, its last stages too")
    assert row["n"] == {"valid": len(splits.valid)}


def test_the_configs_are_of_the_fruit_task() -> None:
    task = task_named("fruit")
    configs = settled_configs(("mobilenet_v2", "timm:tf_efficientnet_lite0"), SMOOTHING)
    assert all(task.space.validate(config) == config for config in configs)
    specs = [spec_of(config) for config in configs]
    assert sum(spec.backbone.unfrozen > 0 for spec in specs) == 2 * len(SMOOTHING)
    assert {spec.head.label_smoothing for spec in specs} == set(SMOOTHING)


def a_row(task: str, kind: str, valid: float) -> dict[str, Any]:
    return {
        "task": task,
        "config": 0,
        "seed": 0,
        "optimizer, smoothing": "adamw, 0.1",
        "kind": kind,
        "n": {"valid": 10, "held back": 4},
        "shares": {"valid": valid, "held back": 0.25, "robust": 0.5},
    }


def test_heads_and_stages_are_apart() -> None:
    rows = [a_row("fruit", "heads", 0.9), a_row("fruit", "heads", 0.7), a_row("fruit", "stages", 0.6)]
    text = markdown(
        {
            "settings": {"epochs": 8, "numerics": "fp32"},
            "command": "python -m bench.settled",
            "environment": {"device": "a processor", "commit": "", "python": "3", "versions": {"torch": "2"}},
            "fingerprints": {"fruit": "f"},
            "rows": rows,
        }
    )
    heads, stages = text.split("## stages\n")
    assert "| adamw, 0.1             | 2      | 80.00         | 50.00    | 25.00            |" in heads
    assert "| adamw, 0.1             | 1      | 60.00         | 50.00    | 25.00            |" in stages


def test_photos_that_the_values_were_not_settled_by_have_a_table() -> None:
    def elsewhere(task: str, kind: str, share: float) -> dict[str, Any]:
        row = a_row(task, kind, 0.9)
        return row | {"shares": row["shares"] | {"elsewhere": share}, "n": row["n"] | {"elsewhere": 8}}

    rows = [
        elsewhere("fruit", "heads", 0.1),
        elsewhere("clothing", "heads", 0.5),
        elsewhere("clothing", "stages", 0.75),
    ]
    (line,) = (line for line in "\n".join(_first_seen(rows)).splitlines() if line.startswith("| adamw"))
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["adamw, 0.1", "50.00", "75.00", "62.50"]
    assert _first_seen([elsewhere("fruit", "heads", 0.1)]) == []
