"""What every engine promises: it carries jobs to workers and what they say back, and decides nothing."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

from training.lanes.jobs import Event, Job, Verdict, Working

from ..plan import Plan


@dataclass(frozen=True)
class Done:
    """The worker has trained its job to the end."""


@dataclass(frozen=True)
class Lost:
    """The worker is gone, and what it did since its group was saved is lost with it.

    `from_outside`: it was killed by somebody, and not by what it trained.
    """

    reason: str
    from_outside: bool = False


Said = tuple[int, Event | Done | Lost]
"""What a worker said, with its number."""

Heard = Callable[[int, Working | None], None]
"""Called all the time while workers work, with what one of them is doing where that is known; it may raise."""


class AbstractEngine(abc.ABC):
    """Workers, numbered from 0. The contract is in `tests/contracts/engine.py`."""

    name: str
    workers: int
    has_processes = True
    """Whether workers are other processes than the driver's, which outlives them."""

    def check(self) -> None:  # noqa: B027
        """To be called, at will, before anything is written.

        Raises:
            InputError: it can't be started: a package is missing, or nobody is where workers are to be.
        """

    @abc.abstractmethod
    def start(self, plan: Plan, heard: Heard) -> None:
        """To be called first.

        Raises:
            InputError: a worker can't open what the plan names.
        """

    @abc.abstractmethod
    def submit(self, worker: int, job: Job) -> None:
        """Gives a job to a worker that has none. One that was lost is replaced."""

    @abc.abstractmethod
    def receive(self) -> Said | None:
        """The next thing that a worker says; None where nobody said anything for a moment.

        `Ready` and `Epoch` want an answer before the worker goes on.

        Raises:
            InputError: a worker can't go on at all (weights that are absent, a full disk).
        """

    @abc.abstractmethod
    def answer(self, worker: int, verdict: Verdict) -> None:
        """The answer to what a worker said last."""

    @abc.abstractmethod
    def stop(self) -> list[Said]:
        """Ends all jobs, their groups saved as they were after their last whole epoch, and all workers.

        Returns what workers had said that nobody has received. To be called in any case, and more than once at will.

        Raises:
            InputError: no room to save a group.
        """
