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

    `task` is narrowed to what can run here. `trials` counts all of the study's, finished ones included; None is as many
    as the time allows. `timeout` is in seconds of this run, and no group of trials goes on for longer than
    `trial_timeout`. `lanes` trials of one structure train together. `source` opens the data again in another process;
    None where that is not possible.
    """

    task: Task
    data: Data
    trials: int | None
    epochs: int
    timeout: float | None
    device: torch.device
    numerics: Numerics
    weights_dir: Path | None
    download: bool
    lanes: int = 1
    source: DataSource | None = None
    trial_timeout: float | None = None


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
    """Trials (None: as many as the time allows), epochs each, seconds in all and hours of GPUs (None: no limit)."""

    trials: int | None
    epochs: int
    timeout: float | None
    gpu_hours: float | None = None

    def __str__(self) -> str:
        hours = "" if self.gpu_hours is None else f", at most {self.gpu_hours:g} GPU hours"
        if self.trials is None:
            limit = "" if self.timeout is None else f" for {duration_text(self.timeout)}"
            return f"trials of {self.epochs} epochs{limit}{hours}"
        limit = "" if self.timeout is None else f", at most {duration_text(self.timeout)}"
        return f"{self.trials} trials of {self.epochs} epochs{limit}{hours}"


def duration_text(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def default_budget(device: torch.device) -> Budget:
    """Ten minutes; a GPU is good for more epochs in them."""
    return Budget(trials=None, epochs=12 if device.type == "cuda" else 8, timeout=600.0)
