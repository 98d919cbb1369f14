"""Each rule names what the leaderboard would, and the page says what was named."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.tie_break import RULES, markdown, named, record_of, trained
from search_spaces import task_named
from search_spaces.benchmarks import tie_break_configs
from studies.portfolio import shipped_portfolio
from training import LaneGroup, Prefixes, resolve, spec_of

from ..toys import TOY, toy_backbone, toy_splits


class Robust:
    value = 0.5


def a_row(task: str, weights: str, valid: float, robust: float, elsewhere: float, unfrozen: int = 0) -> dict[str, Any]:
    return {
        "task": task,
        "config": 0,
        "seed": 0,
        "weights": weights,
        "unfrozen": unfrozen,
        "ci95": [valid - 0.05, valid + 0.05],
        "group_value": None,
        "groups_ci95": None,
        "n": {"valid": 10, "held back": 4, "elsewhere": 8},
        "shares": {"valid": valid, "robust": robust, "held back": 0.25, "elsewhere": elsewhere},
    }


BEST = a_row("clothing", "a", 0.9, 0.5, 0.1)
SAME_WEIGHTS = a_row("clothing", "a", 0.88, 0.6, 0.2)
OTHER_WEIGHTS = a_row("clothing", "b", 0.87, 0.7, 0.3, unfrozen=2)
WORSE = a_row("clothing", "b", 0.8, 0.9, 0.4)


def test_robust_decides_among_those_that_are_tied() -> None:
    of_rules = named([WORSE, OTHER_WEIGHTS, SAME_WEIGHTS, BEST])
    assert list(of_rules) == list(RULES)
    # All four are fewer than a draw holds.
    assert [{row["shares"]["elsewhere"] for row in rows} for rows in of_rules.values()] == [{0.1}, {0.2}, {0.3}]


def test_a_row_becomes_a_trial_with_all_that_its_rank_depends_on() -> None:
    record = record_of(BEST | {"group_value": 0.7, "groups_ci95": [0.6, 0.8]}, 3)
    assert (record.number, record.value, record.robust, record.weights) == (3, 0.9, 0.5, "a")
    assert (record.ci95, record.group_value, record.groups_ci95) == ((0.9 - 0.05, 0.9 + 0.05), 0.7, (0.6, 0.8))


def test_a_model_is_scored_after_its_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.unseen.score_shifted", lambda _group, keys: {key: Robust() for key in keys})
    splits = toy_splits()
    prefixes = Prefixes(backbones=toy_backbone, device=torch.device("cpu"))
    structure = resolve(TOY, TOY.recipe).structure(len(toy_backbone("toy").stages))
    group = LaneGroup(TOY, splits, structure, epochs=2, seed=0, prefixes=prefixes)
    group.add(0, TOY.recipe)
    (row,) = trained(group, TOY.recipe, {"valid": splits.valid, "held back": splits.valid})
    assert row["ci95"][0] <= row["shares"]["valid"] <= row["ci95"][1]
    assert (row["weights"], row["unfrozen"]) == ("toy", spec_of(TOY.recipe).backbone.unfrozen)


def test_the_configs_are_of_every_task_that_is_measured() -> None:
    found = [shipped.config for shipped in shipped_portfolio().configs]
    configs = tie_break_configs(("mobilenet_v2",), ("timm:tf_efficientnet_lite0",), found)
    for name in ("fruit", "clothing", "cats_dogs", "cifar10"):
        space = task_named(name).space
        assert all(space.validate(config) == config for config in configs)
    specs = [spec_of(config) for config in configs]
    assert {spec.optimizer.name for spec in specs} == {"adamw"}
    assert sum(spec.backbone.unfrozen == 0 for spec in specs) == 8
    rates = [spec.optimizer.learning_rate for spec in specs[10:]]
    assert rates[1::2] == [rate / 2 for rate in rates[::2]]


def test_the_page_says_what_is_named_and_what_was_trained() -> None:
    home = [
        row | {"task": "flowers", "n": {"valid": 10, "held back": 4}, "shares": shares | {"held back": 0.75}}
        for row in (BEST, OTHER_WEIGHTS)
        for shares in [{name: row["shares"][name] for name in ("valid", "robust")}]
    ]
    text = markdown(
        {
            "settings": {"epochs": 8, "numerics": "fp32"},
            "command": "python -m bench.tie_break",
            "environment": {"device": "a processor", "commit": "", "python": "3", "versions": {"torch": "2"}},
            "fingerprints": {"clothing": "f", "flowers": "f"},
            "rows": [WORSE, OTHER_WEIGHTS, SAME_WEIGHTS, BEST, *home],
        }
    )

    def cells(heading: str) -> list[list[str]]:
        (section,) = (part for part in text.split("\n## ") if part.startswith(heading))
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:2] == "| "]

    assert ["by `robust` among all tied with it", "500", "87.00", "70.00", "25.00", "30.00"] in cells("clothing")
    assert ["b, stages", "1", "87.00", "70.00", "25.00", "30.00"] in cells("clothing")
    assert ["the best on `valid`", "500", "90.00", "50.00", "75.00"] in cells("flowers")
    assert ["the best on `valid`", "90.00", "50.00", "10.00"] in cells("The mean over tasks")
