"""What a study is to do, and with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from search_spaces import Task
from training.machine.errors import Interrupted as Interrupted

if TYPE_CHECKING:
    import torch

    from training import Data, FitResult, Numerics


class DataSource(Protocol):
    """Where data come from; it pickles."""

    def open(self, task: Task) -> Data:
        """Raises InputError where they can't be opened."""


@dataclass(frozen=True)
class StoredData:
    """Data in the place where `open_data` finds them."""

    location: str
    skip_unreadable: bool

    def open(self, task: Task) -> Data:
        from training import open_data

        return open_data(self.location, task, skip_unreadable=self.skip_unreadable)


@dataclass(frozen=True)
class Plan:
    """How many trials of how many epochs, until when, and on what.

    `task` is narrowed to what can run here. `trials` counts all of the study's, finished ones included; `timeout` is in
    seconds of this run. `lanes` trials of one structure train together. `source` opens the data again in another
    process; None where that is not possible.
    """

    task: Task
    data: Data
    trials: int
    epochs: int
    timeout: float | None
    device: torch.device
    numerics: Numerics
    weights_dir: Path | None
    download: bool
    lanes: int = 1
    source: DataSource | None = None


@dataclass(frozen=True)
class Outcome:
    """A trial that has ended."""

    number: int
    result: FitResult


@dataclass(frozen=True)
class Progress:
    """How much of the `running` trials' work is done, counted in trials."""

    running: int
    done: float


Watch = Callable[[Progress], None]
"""Called often; it may raise `Interrupted`."""


@dataclass(frozen=True)
class Budget:
    """Trials, epochs each, and seconds in all."""

    trials: int
    epochs: int
    timeout: float | None

    def __str__(self) -> str:
        limit = ""
        if self.timeout is not None:
            limit = f", at most {self.timeout:g} s" if self.timeout < 120 else f", at most {self.timeout / 60:.3g} min"
        return f"{self.trials} trials of {self.epochs} epochs{limit}"


def default_budget(device: torch.device, threads: int) -> Budget:
    """What a machine can do in ten minutes: on a CPU eight trials a core; a GPU is good for more of both."""
    if device.type == "cuda":
        return Budget(trials=100, epochs=12, timeout=600.0)
    return Budget(trials=8 * max(threads, 1), epochs=8, timeout=600.0)
