"""What does each fused operator gain in the step that it is used in?

    python -m bench.kernels [--rounds 15] [--seconds 0.4] [--only WORDS] [--json]

A training step with the operator, and the same step with torch's own operators in its place, take turns. What is timed
is processor time: run it with one thread (OMP_NUM_THREADS=1), so that other work on the machine counts as little as
possible.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch
from tabulate import tabulate

from training import environment
from training.frozen.source import training_pass
from training.machine.files import SCHEMA_VERSION, answer_text
from training.models import lowering
from training.models.backbones import backbone as backbones
from training.models.backbones import image_side
from training.models.kernels import clamped_convolution, spatial_mean

from .answers import JSON_HELP
from .throughput.cases import ALL, TRAINING, Case, Variant
from .throughput.core import Core, Step, resident

CPU = torch.device("cpu")
RESOLUTION = 128
_BATCH = 32


@dataclass(frozen=True)
class Operator:
    """A fused operator, and how to do without it: `attribute` of `module` is replaced by `plain`."""

    name: str
    module: Any
    attribute: str
    plain: Any
    backbone: str
    depth: str

    def __str__(self) -> str:
        stages = {"0": "frozen stages and head", "1": "last stage", ALL: "all stages"}
        return f"{self.name}: {self.case.backbone}, {stages.get(self.depth, f'last {self.depth} stages')}"

    @property
    def case(self) -> Case:
        side = image_side(self.backbone) or RESOLUTION
        return Case(self.backbone, side, _BATCH, TRAINING, self.depth, "bf16")

    @contextmanager
    def as_it_is(self, *, fused: bool) -> Iterator[None]:
        before = getattr(self.module, self.attribute)
        if not fused:
            setattr(self.module, self.attribute, self.plain)
        try:
            yield
        finally:
            setattr(self.module, self.attribute, before)


def _never(*_: object) -> bool:
    return False


_CLAMPED = partial(Operator, "clamped convolution", clamped_convolution, "is_fused", _never)
_POINTWISE = partial(Operator, "pointwise convolution", lowering, "is_pointwise", _never)
_DEPTHWISE = partial(Operator, "depthwise convolution", lowering, "is_slow_depthwise", _never)
_MEAN = partial(Operator, "spatial mean", backbones, "spatial_mean", spatial_mean.reference)
OPERATORS = (
    _CLAMPED("mobilenet_v2", "0"),
    _CLAMPED("resnet18", "0"),
    *(operator("mobilenet_v2", depth) for operator in (_POINTWISE, _MEAN) for depth in ("1", "3")),
    _POINTWISE("squeezenet1_1", "3"),
    _POINTWISE("efficientnet_b0", "3"),
    _DEPTHWISE("mobilenet_v2", ALL),
    *(_DEPTHWISE("timm:tf_efficientnet_lite0", depth) for depth in ("4", ALL)),
)


def step_with(operator: Operator, *, fused: bool) -> Step:
    """A training step, with the operator or without; of unfrozen stages on a prefix that is there."""
    case = operator.case
    with operator.as_it_is(fused=fused):
        core = Core(case, Variant(channels_last=True), resident(case, CPU), 2, CPU)
        way = training_pass(core.prefixes, core.structure, core.split, seed=0, epoch=1)
        core.runner.begin(1, way.order)
        batch = next(way.batches())
        batch.at(core.structure.cut)

    epochs = _endless(core)

    def step() -> None:
        with operator.as_it_is(fused=fused):
            if operator.depth == "0":
                # What is frozen is computed for each batch.
                next(epochs)
            else:
                core.runner.step(batch)

    return step


def _endless(core: Core) -> Iterator[None]:
    while True:
        yield from core.epoch()


def gains(operator: Operator, rounds: int, seconds: float) -> list[float]:
    """By round, which share of the step's processor time the operator saves."""
    steps = {fused: step_with(operator, fused=fused) for fused in (True, False)}
    for step in steps.values():
        for _ in range(3):
            step()
    count = max(2, round(seconds / _seconds(steps[True], 3)))
    found = []
    for number in range(rounds):
        order = (True, False) if number % 2 else (False, True)
        taken = {fused: _seconds(steps[fused], count) for fused in order}
        found.append(1 - taken[True] / taken[False])
    return found


def _seconds(step: Callable[[], None], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        step()
    return (time.process_time() - started) / count


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="in which both ways take turns")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each way in a round")
    parser.add_argument("--only", metavar="WORDS", default="", help="operators whose name begins so")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    rows: list[dict[str, Any]] = []
    for operator in (one for one in OPERATORS if str(one).startswith(options.only)):
        found = gains(operator, options.rounds, options.seconds)
        low, median, high = statistics.quantiles(found, n=4)
        rows.append({"operator": str(operator), "gain": median, "quartiles": [low, high]})
        sys.stderr.write(f"{operator}: {median:.1%}\n")
    if options.json:
        about = {"environment": environment(CPU), "rounds": options.rounds}
        sys.stdout.write(answer_text({"schema_version": SCHEMA_VERSION, "about": about, "operators": rows}) + "\n")
    else:
        table = [[r["operator"], f"{r['gain']:.1%} ({r['quartiles'][0]:.1%} to {r['quartiles'][1]:.1%})"] for r in rows]
        sys.stdout.write(tabulate(table, ["operator and step", "share of the step that it saves"], tablefmt="github"))
        sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
