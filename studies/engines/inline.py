"""The engine that runs trials in this process: the reference for the others, and what a debugger steps through."""

from __future__ import annotations

import functools
import shutil
import time
import traceback
from collections.abc import Iterator
from typing import final

from search_spaces import InputError
from training import EpochResult, FitResult, State, Stop, fit, has_checkpoint, load_backbone, splits_for

from ..plan import Interrupted, Outcome, Plan, Progress, Watch
from ..study import Proposal, Study
from .engine import AbstractEngine


@final
class InlineEngine(AbstractEngine):
    """One trial at a time."""

    def run(self, study: Study, plan: Plan, watch: Watch) -> Iterator[Outcome]:
        deadline = time.monotonic() + plan.timeout if plan.timeout is not None else None
        for proposal in study.proposals(plan.task.space, plan.trials):
            result = _run_trial(study, plan, proposal, watch, deadline)
            study.finish(proposal.number, result)
            shutil.rmtree(study.trial_folder(proposal.number), ignore_errors=True)
            yield Outcome(proposal.number, result)


def _run_trial(study: Study, plan: Plan, proposal: Proposal, watch: Watch, deadline: float | None) -> FitResult:
    number = proposal.number
    folder = study.trial_folder(number)
    last: float | None = None

    def on_batch(step: int, steps: int) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise Interrupted("the time is up")
        watch(Progress(number, step, steps, last))

    def on_epoch(result: EpochResult) -> None:
        nonlocal last
        last = result.value
        study.report(number, result.epoch, result.value)
        if result.epoch < result.epochs and study.should_prune(number):
            raise Stop(f"pruned after epoch {result.epoch} of {result.epochs}")

    watch(Progress(number, 0, 1, None))
    try:
        return fit(
            plan.task,
            proposal.config,
            splits_for(plan.data, proposal.config),
            epochs=plan.epochs,
            seed=proposal.seed,
            device=plan.device,
            numerics=plan.numerics,
            backbones=functools.partial(load_backbone, weights_dir=plan.weights_dir, download=plan.download),
            on_epoch=on_epoch,
            on_batch=on_batch,
            checkpoint_to=folder,
            resume_from=folder if has_checkpoint(folder) else None,
        )
    except (InputError, Interrupted):
        raise
    except Exception as problem:
        # Whatever a single config breaks must not end the night's search; the traceback says what it was.
        study.keep_traceback(number, traceback.format_exc())
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        return FitResult(State.FAILED, reason, None, (), 0.0, proposal.seed)
