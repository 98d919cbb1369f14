"""One case at a time: every way to do it is built and warmed up, then all take turns, the reference among them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from training.lanes.captured import Capture

from . import core, reference
from .cases import Case, Variant
from .ceilings import Ceilings
from .clock import synchronise, timed, warmed_up
from .core import Step
from .results import OURS, REFERENCE, Candidate, Measured
from .work import work_of


@dataclass(frozen=True)
class Settings:
    """`seconds` is how long each way runs in a round; `strength` is that of our augmentation."""

    device: torch.device
    rounds: int
    seconds: float
    strength: int


@dataclass
class _Runner:
    who: str
    layout: str
    variant: str
    step: Step | None = None
    count: int = 0
    step_seconds: float = float("inf")
    peak_bytes: int | None = None
    note: str = ""
    rates: list[float] = field(default_factory=list)

    def result(self) -> Candidate:
        return Candidate(self.who, self.layout, self.variant, tuple(self.rates), self.peak_bytes, self.note)


def measure(case: Case, layouts: Sequence[bool], ceilings: Ceilings, settings: Settings) -> Measured:
    """`layouts` are those to try eagerly, by whether they are channels_last; on a GPU the faster one is captured too.

    What does not fit into memory, and what can't be captured here, gets a note instead of rates.
    """
    device = settings.device
    free(device)
    work = work_of(case, device)
    data = core.resident(case, device)

    def ours(variant: Variant) -> _Runner:
        runner = _Runner(OURS, variant.layout, variant.name)
        make = partial(core.step_of, case, variant, data, settings.strength, device)
        return _prepared(runner, case, make, settings, may_fail=variant.capture is not Capture.NEVER)

    eager = {layout: ours(Variant(layout)) for layout in layouts}
    faster = min(layouts, key=lambda layout: eager[layout].step_seconds)
    others = [ours(Variant(faster, Capture.ALWAYS))] if device.type == "cuda" and case.trains_stages else []
    peer = _Runner(REFERENCE, "NCHW", "eager")
    _prepared(peer, case, partial(reference.step_of, case, data, device), settings, may_fail=False)

    runners = [*eager.values(), *others, peer]
    _take_turns([(runner.step, runner.count, runner.rates) for runner in runners if runner.step], case, settings)
    results = tuple(runner.result() for runner in runners)
    return Measured(case, work, ceilings.matmul[case.precision], ceilings.copy, results)


def free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _prepared(runner: _Runner, case: Case, make: Callable[[], Step], settings: Settings, *, may_fail: bool) -> _Runner:
    device = settings.device
    before = 0
    if device.type == "cuda":
        synchronise(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    try:
        step = make()
        runner.count, runner.step_seconds = warmed_up(step, settings.seconds, device)
        runner.step = step
    # Captures fail in many ways, none of which is to stop the others.
    except Exception as problem:
        if is_out_of_memory(problem):
            runner.note = f"out of memory with batches of {case.batch_size}"
        elif may_fail:
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
            runner.note = f"{runner.variant} failed: {reason}"
        else:
            raise
    if runner.note:
        free(device)
    elif device.type == "cuda":
        runner.peak_bytes = torch.cuda.max_memory_allocated(device) - before
    return runner


def _take_turns(runners: Sequence[tuple[Step, int, list[float]]], case: Case, settings: Settings) -> None:
    for number in range(settings.rounds):
        # Another one begins each time, so that none always follows the same.
        first = number % max(1, len(runners))
        for step, count, rates in [*runners[first:], *runners[:first]]:
            rates.append(case.batch_size * count / timed(step, count, settings.device))


def is_out_of_memory(problem: Exception) -> bool:
    # On a CPU it is a plain RuntimeError of the allocator's.
    return isinstance(problem, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(problem)
