"""Where trials run, and what that costs: plain data, which a study keeps."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces import InputError

from .plan import Budget


@dataclass(frozen=True)
class Placement:
    """How many workers there are, and where.

    `trials_per_gpu` workers share each GPU, its memory in equal parts. `ray_address` is that of a Ray cluster; without
    it one is started on this machine.
    """

    workers: int = 1
    trials_per_gpu: int = 1
    ray_address: str | None = None

    def time_within(self, budget: Budget, device: str) -> float | None:
        """Seconds that a run may take, by the time of its budget and by its hours of GPUs; None is no limit.

        `device` is the kind of device that trials train on. A GPU counts from the start of the run to its end, used or
        not: that is what clusters charge for.

        Raises:
            InputError: hours of GPUs where there are none, or no hours.
        """
        if budget.gpu_hours is None:
            return budget.timeout
        if device != "cuda":
            raise InputError(
                "hours of GPUs need a GPU", "run it where there is one", "use --timeout and no --max-gpu-hours"
            )
        if budget.gpu_hours <= 0:
            raise InputError("--max-gpu-hours must be more than nothing")
        gpus = -(-self.workers // self.trials_per_gpu)
        seconds = budget.gpu_hours * 3600 / gpus
        return seconds if budget.timeout is None else min(budget.timeout, seconds)
