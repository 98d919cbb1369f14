"""Each fused operator in a training step that uses it, beside the same step in torch's own operators.

`python -m bench.kernels` measures the same in turns and says what each gains.
"""

from __future__ import annotations

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.kernels import OPERATORS, Operator, step_with

pytestmark = pytest.mark.benchmark(timer=time.process_time, min_time=1e-4)
# The first step of each operator.
FIRST = tuple({operator.name: operator for operator in reversed(OPERATORS)}.values())


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("operator", FIRST, ids=str)
def test_operator_in_its_step(benchmark: BenchmarkFixture, operator: Operator, fused: bool) -> None:
    step = step_with(operator, fused=fused)
    step()
    benchmark(step)
