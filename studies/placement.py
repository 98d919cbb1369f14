"""Where trials run, and what that costs: plain data, which a study keeps."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces import InputError


@dataclass(frozen=True)
class Placement:
    """How many workers there are, and where.

    `trials_per_gpu` workers share each GPU, its memory in equal parts. `ray_address` is that of a Ray cluster; without
    it one is started on this machine.
    """

    workers: int = 1
    trials_per_gpu: int = 1
    ray_address: str | None = None

    def time_within(self, timeout: float | None, gpu_hours: float | None, device: str) -> float | None:
        """Seconds that a run may take which has a `timeout` and may take so many hours of GPUs; None is no limit.

        `device` is the kind of device that trials train on. A GPU counts from the start of the run to its end, used or
        not: that is what clusters charge for.

        Raises:
            InputError: hours of GPUs where there are none, or no hours.
        """
        if gpu_hours is None:
            return timeout
        if device != "cuda":
            raise InputError("--max-gpu-hours needs a GPU: use --timeout")
        if gpu_hours <= 0:
            raise InputError("--max-gpu-hours must be more than nothing")
        gpus = -(-self.workers // self.trials_per_gpu)
        seconds = gpu_hours * 3600 / gpus
        return seconds if timeout is None else min(timeout, seconds)
