"""The benchmark of fused operators takes one out at a time, and puts it back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from torch import nn

from bench import kernels
from bench.throughput import core
from bench.throughput.cases import ALL
from training.lanes.suffix import SuffixTrainer
from training.models.kernels.pointwise_convolution import PointwiseConv2d

SMALL = "residual:3x8x8:b1w4"


def small(name: str, depth: str) -> kernels.Operator:
    found = next(operator for operator in kernels.OPERATORS if operator.name == name)
    return replace(found, backbone=SMALL, depth=depth)


def test_every_operator_is_put_back() -> None:
    for operator in kernels.OPERATORS:
        before = getattr(operator.module, operator.attribute)
        with operator.as_it_is(fused=False):
            assert getattr(operator.module, operator.attribute) is operator.plain
        assert getattr(operator.module, operator.attribute) is before


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_is_with_the_operator_or_without(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[core.Core] = []
    class_of = core.Core
    monkeypatch.setattr(kernels, "Core", lambda *given: made.append(class_of(*given)) or made[-1])
    monkeypatch.setattr(kernels, "RESOLUTION", 32)
    last_stage = replace(small("pointwise convolution", "1"), backbone="mobilenet_v2")
    kernels.step_with(last_stage, fused=fused)()
    runner = made[0].runner
    assert isinstance(runner, SuffixTrainer)
    (convolution,) = (module for module in runner.model.stages[-1].modules() if isinstance(module, nn.Conv2d))
    assert (type(convolution) is PointwiseConv2d) == fused


def test_the_table_has_a_row_an_operator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kernels, "OPERATORS", [small("spatial mean", ALL), small("pointwise convolution", ALL)])
    assert kernels.main(["--rounds", "2", "--seconds", "1e-6", "--only", "spatial", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["operators"]
    assert row["operator"] == f"spatial mean: {SMALL}, all stages"
    low, high = row["quartiles"]
    assert low <= row["gain"] <= high < 1
