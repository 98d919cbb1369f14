"""Plans for toy tasks that an engine runs in a blink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from search_spaces import Choice, Float, Task
from studies import Outcome, Plan, Study, strategies
from studies.driver import run_study
from studies.engines import InlineEngine, worker
from studies.plan import Watch
from training import Numerics

from ..toys import TOY, ToyData, toy_backbone

EPOCHS = 4
# Trials that train a stage half way on: they follow each other in their group. On two batch sizes, for several groups.
STAGES = replace(
    TOY,
    recipe=TOY.recipe | {"batch_size": 16},
    space=TOY.space.replace(
        batch_size=Choice(16, 24),
        learning_rate=Float(1e-3, 1e-1, log=True),
        head_width=Choice(0),
        unfrozen_stages=Choice(0, 1),
    ),
)
# Heads only: they train side by side.
HEADS = replace(
    STAGES,
    recipe=STAGES.space.activate(STAGES.recipe | {"unfrozen_stages": 0}),
    space=STAGES.space.replace(unfrozen_stages=Choice(0)),
)


def use_toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the engine find the toy tasks' backbone."""
    for place in (worker, strategies):
        monkeypatch.setattr(place, "load_backbone", lambda name, **_options: toy_backbone(name))


def run_inline(study: Study, plan: Plan, watch: Watch) -> Iterator[Outcome]:
    """The trials of a study, in this process."""
    return run_study(study, plan, InlineEngine(), watch)


def plan(task: Task, lanes: int, trials: int) -> Plan:
    return Plan(
        task=task,
        data=ToyData(),
        trials=trials,
        epochs=EPOCHS,
        timeout=None,
        device=torch.device("cpu"),
        numerics=Numerics(),
        weights_dir=None,
        download=False,
        lanes=lanes,
    )
