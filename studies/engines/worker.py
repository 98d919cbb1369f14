"""The part of an engine that works: one in each process that trains."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces import InputError, Task
from training import (
    Data,
    GroupFolder,
    GroupRunner,
    Job,
    Numerics,
    Prefixes,
    PrefixStore,
    Splits,
    Working,
    load_backbone,
    most_unfrozen,
    splits_for,
)
from training.lanes.runner import Events

from ..placement import Placement
from ..plan import DataSource, Plan

CHECK_SECONDS = 0.5
"""Of work between two looks at whether it still should."""

Check = Callable[[Working | None], None]
"""Called at every batch with what is under way, and within longer work with None; what it raises ends the job."""


@dataclass(frozen=True)
class Setup:
    """What a worker is told when it starts."""

    task: Task
    source: DataSource
    fingerprint: str
    device: torch.device
    numerics: Numerics
    weights_dir: Path | None
    download: bool
    memory_share: float = 1.0
    """Of the GPU's memory, where several workers share it."""

    @staticmethod
    def of(plan: Plan, placement: Placement) -> Setup:
        """Raises InputError where the data can't be opened again, in another process."""
        if plan.source is None:
            raise InputError(f"{plan.data.source} can't be opened by other processes", "leave --workers out")
        return Setup(
            plan.task,
            plan.source,
            plan.data.fingerprint,
            plan.device,
            plan.numerics,
            plan.weights_dir,
            plan.download,
            1 / placement.trials_per_gpu,
        )

    def open_data(self) -> Data:
        """Raises InputError where the data are no longer what they were."""
        data = self.source.open(self.task)
        if data.fingerprint != self.fingerprint:
            raise InputError(
                f"{data.source} has changed since the search began (fingerprint {data.fingerprint}, "
                f"not {self.fingerprint}): start it again"
            )
        return data


class Worker:
    """What stays in a process from job to job: the data, backbones, and what frozen stages gave."""

    def __init__(self, setup: Setup | Plan, data: Data, check: Check) -> None:
        self._plan = setup
        if isinstance(setup, Setup) and setup.device.type == "cuda" and setup.memory_share < 1:
            # Who needs more runs out of memory itself, and takes no other trial with it.
            torch.cuda.set_per_process_memory_fraction(setup.memory_share)
        self.data = data
        self.check = check
        self._checked = time.monotonic()
        self._splits: dict[int, Splits] = {}
        self._prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=setup.weights_dir, download=setup.download),
            numerics=setup.numerics,
            device=setup.device,
            store=PrefixStore(),
            unfrozen=most_unfrozen(setup.task.space),
            check_stop=self._check_between,
        )

    def run(self, job: Job) -> Events:
        """The events of a job; see `GroupRunner.run`."""
        about = {
            "seed": job.seed,
            "epochs": job.epochs,
            "fingerprint": self.data.fingerprint,
            "numerics": str(self._plan.numerics),
        }
        saves = GroupFolder(job.folders, about, job.latest)
        runner = GroupRunner(
            self._plan.task,
            job,
            self._splits_at,
            self._prefixes,
            saves=saves,
            on_batch=self._on_batch,
        )
        yield from runner.run()

    def _splits_at(self, resolution: int) -> Splits:
        """The same for all jobs: on a GPU, the pixels are copied once."""
        if resolution not in self._splits:
            self._splits[resolution] = splits_for(self.data, resolution, self._prefixes.check_stop)
        return self._splits[resolution]

    def _on_batch(self, working: Working) -> None:
        self._checked = time.monotonic()
        self.check(working)

    def _check_between(self) -> None:
        """Within work that has no batches: a frozen stage, a batch that is scored, a photo."""
        if (now := time.monotonic()) - self._checked >= CHECK_SECONDS:
            self._checked = now
            self.check(None)
