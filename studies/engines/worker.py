"""The part of an engine that works: one in each process that trains."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from training import (
    Data,
    GroupFolder,
    GroupRunner,
    Job,
    Prefixes,
    PrefixStore,
    Working,
    load_backbone,
    most_unfrozen,
    splits_for,
)
from training.lanes.runner import Events

from ..plan import Plan

CHECK_SECONDS = 0.5
"""Of work between two looks at whether it still should."""

Check = Callable[[Working | None], None]
"""Called at every batch with what is under way, and within longer work with None; what it raises ends the job."""


class Worker:
    """What stays in a process from job to job: the data, backbones, and what frozen stages gave."""

    def __init__(self, plan: Plan, data: Data, check: Check) -> None:
        self._plan = plan
        self._data = data
        self._check = check
        self._checked = time.monotonic()
        self._prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=plan.weights_dir, download=plan.download),
            numerics=plan.numerics,
            device=plan.device,
            store=PrefixStore(),
            unfrozen=most_unfrozen(plan.task.space),
            check_stop=self._check_between,
        )

    def run(self, job: Job) -> Events:
        """The events of a job; see `GroupRunner.run`."""
        about = {
            "seed": job.seed,
            "epochs": job.epochs,
            "fingerprint": self._data.fingerprint,
            "numerics": str(self._plan.numerics),
        }
        saves = GroupFolder(job.folders, about, job.latest)
        runner = GroupRunner(
            self._plan.task,
            job,
            lambda resolution: splits_for(self._data, resolution, self._prefixes.check_stop),
            self._prefixes,
            saves=saves,
            on_batch=self._on_batch,
        )
        yield from runner.run()

    def _on_batch(self, working: Working) -> None:
        self._checked = time.monotonic()
        self._check(working)

    def _check_between(self) -> None:
        """Within work that has no batches: a frozen stage, a batch that is scored, a photo."""
        if (now := time.monotonic()) - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._check(None)
