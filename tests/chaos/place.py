"""The study that is disturbed: short real trials of a toy task, on a journal in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import optuna
import torch
from optuna.trial import FrozenTrial

from search_spaces import Config, Task
from studies import Plan, Study
from studies.records import TrialRecord
from studies.storage import open_storage
from training import Data, Numerics
from training.machine import interrupts

from ..studies.settings import settings_for
from ..toys import SMALL, ToyData, small_weights
from .clock import let_clock_jump
from .disk import fill_disk

NAME = "chaos"
EPOCHS = 12
# In bytes; whatever is saved of a trial is larger.
_SMALL = 1000


@dataclass(frozen=True)
class Source:
    """Where workers get the data from.

    They save their trials as often as costs little, not every two seconds: these trials would be done before.
    """

    clock_jumps: bool
    is_full: bool

    def open(self, _task: Task) -> Data:
        interrupts._SECONDS_BETWEEN_SAVES, interrupts._SAVING_SHARE = 0.0, 0.3
        if self.clock_jumps:
            let_clock_jump()
        if self.is_full:
            fill_disk(_SMALL)
        return cast(Data, ToyData())


@dataclass(frozen=True)
class Orders:
    """What a driver is told.

    After `full_after` trials of its own it can write no more records; None is never. Where it is `full_for_workers`,
    they can't save a trial.
    """

    folder: str
    trials: int
    workers: int
    clock_jumps: bool = False
    full_after: int | None = None
    full_for_workers: bool = False


@dataclass(frozen=True)
class Place:
    """A folder with everything that a study needs."""

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal.log"

    @property
    def errors(self) -> Path:
        """What drivers and workers say on stderr."""
        return self.folder / "errors.txt"

    @property
    def environment(self) -> dict[str, str]:
        """Of drivers: a cache of their own, empty at first, and one thread a process."""
        return os.environ | {"POMONA_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}

    @staticmethod
    def made(folder: Path, *, trials: int, seed: int, configs: Iterable[Config] = ()) -> Place:
        """With a study that has not begun. Trials of `configs` wait in it, where that is not left to the sampler."""
        place = Place(folder)
        (folder / "weights").mkdir(parents=True)
        small_weights(folder / "weights")
        settings = settings_for(SMALL, epochs=EPOCHS, pruner="median", seed=seed, trials=trials)
        study = Study.create(NAME, str(place.journal), settings, SMALL.recipe)
        study.enqueue((config, "again") for config in configs)
        place.errors.touch()
        return place

    def study(self, *, to_run: bool = False) -> Study:
        return Study.open(NAME, str(self.journal), to_run=to_run)

    def records(self) -> list[TrialRecord]:
        return self.study().records()

    def trials(self) -> list[FrozenTrial]:
        """As the journal has them, a line that a kill has torn left out."""
        return optuna.load_study(study_name=NAME, storage=open_storage(str(self.journal), require_existing=True)).trials

    def plan(self, orders: Orders) -> Plan:
        return Plan(
            task=SMALL,
            data=cast(Data, ToyData()),
            trials=orders.trials,
            epochs=EPOCHS,
            timeout=None,
            device=torch.device("cpu"),
            numerics=Numerics(),
            weights_dir=self.folder / "weights",
            download=False,
            lanes=1,
            source=Source(orders.clock_jumps, orders.full_for_workers),
        )
