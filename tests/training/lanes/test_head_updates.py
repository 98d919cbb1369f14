"""Stacked updates are torch's own, head by head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.lanes import head_updates
from training.lanes.head_updates import StackedUpdate
from training.lanes.optimisation import make_optimizer
from training.models.spec import OptimizerSpec

SPECS = [
    OptimizerSpec(learning_rate=0.01, weight_decay=0.1, momentum=0.9),
    OptimizerSpec(learning_rate=0.003, weight_decay=0.0, momentum=0.8),
    OptimizerSpec(learning_rate=0.1, weight_decay=1e-3, momentum=0.95),
]
STEPS = 5


@pytest.mark.parametrize("way", ["stacked", "in pieces", "one by one"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("shape", [(4, 7), (6,)], ids=["weights", "biases"])
def test_each_head_moves_as_torch_would_move_it(
    monkeypatch: pytest.MonkeyPatch, way: str, optimizer: str, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(head_updates, "LARGE", 0 if way == "one by one" and len(shape) == 2 else 10**9)
    monkeypatch.setattr(head_updates, "_CHUNK", 1 if way == "in pieces" else 10**9)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(SPECS), *shape, generator=generator)
    gradients = torch.randn(STEPS, len(SPECS), *shape, generator=generator)
    shares = np.linspace(1, 0.2, STEPS)

    rates = np.array([[share * spec.learning_rate for spec in SPECS] for share in shares])
    taken = np.repeat(np.arange(STEPS)[:, None], len(SPECS), 1)
    update = StackedUpdate(optimizer, SPECS, rates, taken, torch.device("cpu"))
    stack = start.clone()
    moments = [torch.zeros_like(stack) for _ in StackedUpdate.moment_names(optimizer)]
    for number in range(STEPS):
        update(number, stack, moments, gradients[number].clone())

    for place, spec in enumerate(SPECS):
        parameter = torch.nn.Parameter(start[place].clone())
        single = make_optimizer(replace(spec, name=optimizer), [parameter])
        for number in range(STEPS):
            single.param_groups[0]["lr"] = rates[number, place]
            parameter.grad = gradients[number, place].clone()
            single.step()
        torch.testing.assert_close(stack[place], parameter.detach(), rtol=1e-5, atol=1e-6)
        for moment, name in zip(moments, StackedUpdate.moment_names(optimizer), strict=True):
            torch.testing.assert_close(moment[place], single.state[parameter][name], rtol=1e-5, atol=1e-6)
