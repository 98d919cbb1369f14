"""What was simulated and what was measured, and the files that it is kept in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from search_spaces import InputError
from studies.request import PRUNERS
from training import write_versioned_json
from training.machine.decode import decoded

JOURNAL, SQLITE, POSTGRESQL, PROXY = "journal", "sqlite", "postgresql", "postgresql through gRPC"
STORAGES = (JOURNAL, SQLITE, POSTGRESQL, PROXY)

_Run = TypeVar("_Run", "SimulationRun", "StorageRun", "WorkersRun")


@dataclass(frozen=True)
class Simulated:
    """A search by so many workers, in simulated time; worker-seconds count each worker's own.

    `busy` are worker-seconds of training, `waited` those after the last job was given out in which workers had none.
    `wasted` of the `epochs` were of the `pruned` of the `trials`. `operations` are those that a storage is asked for:
    a trial asked for, an epoch of a group recorded, a trial ended. `best` is the best value of a trial that came to
    its end, None where there is none. `decided` are the real seconds that the scheduler took for its `events`: jobs
    given out, and what workers said.
    """

    workers: int
    makespan: float
    busy: float
    waited: float
    trials: int
    pruned: int
    epochs: int
    wasted: int
    operations: int
    events: int
    best: float | None
    decided: float = field(compare=False)

    @property
    def idle(self) -> float:
        """The share of all worker-seconds in which nothing was trained."""
        return self._of_all(self.workers * self.makespan - self.busy)

    @property
    def idle_at_end(self) -> float:
        """The share of all worker-seconds that lay idle when there was nothing left to give out."""
        return self._of_all(self.waited)

    @property
    def operations_per_second(self) -> float:
        """Of simulated time."""
        return self.operations / self.makespan if self.makespan else 0.0

    @property
    def decisions_per_second(self) -> float:
        """Of real time: how many events the scheduler could answer."""
        return self.events / self.decided if self.decided else 0.0

    @property
    def scheduler_load(self) -> float:
        """The scheduler's real seconds in each simulated one; with more than 1 it would keep workers waiting."""
        return self.decided / self.makespan if self.makespan else 0.0

    def _of_all(self, worker_seconds: float) -> float:
        everything = self.workers * self.makespan
        return min(max(worker_seconds / everything, 0.0), 1.0) if everything else 0.0


@dataclass(frozen=True)
class SimulationRun:
    """One study's trials, replayed with several numbers of workers.

    `recorded` trials of so many `structures` were there to be drawn from; `best` is the best value among those drawn.
    `load` is the machine's load average at the end, with this process in it.
    """

    study: str
    task: str
    source: str
    fingerprint: str
    study_command: str
    direction: str
    pruner: str
    lanes: int
    trials: int
    epochs: int
    seed: int
    recorded: int
    structures: int
    best: float
    simulated: tuple[Simulated, ...]
    command: str
    environment: dict[str, Any]
    load: float

    @property
    def name(self) -> str:
        return f"simulation-{self.study}-{self.pruner}-{self.lanes}"


@dataclass(frozen=True)
class Overhead:
    """What trials took beside their training, with `there` trials in the study when the first of them began.

    `milliseconds` are each trial's, `processor` those of them in which this process computed, a trial; `parts` are
    milliseconds a trial by what they went to. The study was opened in `opened` seconds. `operations` as in `Simulated`,
    of all the trials.
    """

    there: int
    opened: float
    milliseconds: tuple[float, ...]
    processor: float
    parts: dict[str, float]
    operations: int

    @property
    def median(self) -> float:
        return float(np.median(self.milliseconds))

    @property
    def slow(self) -> float:
        """The 90th percentile."""
        return float(np.percentile(self.milliseconds, 90))

    @property
    def operations_per_second(self) -> float:
        return 1000 * self.operations / sum(self.milliseconds)

    @property
    def trials_per_second(self) -> float:
        return 1000 * len(self.milliseconds) / sum(self.milliseconds)


@dataclass(frozen=True)
class StorageRun:
    """One kind of storage; `versions` are those of what it needs beside what pomona always has. `load` as in
    `SimulationRun`."""

    storage: str
    task: str
    pruner: str
    epochs: int
    measured: tuple[Overhead, ...]
    versions: dict[str, str]
    command: str
    environment: dict[str, Any]
    load: float

    @property
    def name(self) -> str:
        return f"storage-{self.storage}".replace(" ", "-")


@dataclass(frozen=True)
class WorkersRound:
    """One search: `trials` ended in `seconds`, trained by so many `workers` that had so many `threads` together."""

    turn: int
    workers: int
    threads: int
    seconds: float
    trials: int

    @property
    def per_hour(self) -> float:
        return 3600 * self.trials / self.seconds


@dataclass(frozen=True)
class WorkersRun:
    """The same search with one worker and with several, in `rounds`. `load` as in `SimulationRun`."""

    task: str
    trials: int
    epochs: int
    side: int
    seed: int
    rounds: tuple[WorkersRound, ...]
    command: str
    environment: dict[str, Any]
    load: float

    @property
    def name(self) -> str:
        return f"workers-{self.task}"


def save_run(out: Path, run: SimulationRun | StorageRun | WorkersRun) -> None:
    write_versioned_json(_folder(out) / f"{run.name}.json", asdict(run))


def load_simulations(out: Path) -> list[SimulationRun]:
    """By study, lanes and pruner. Raises InputError where a file holds none."""
    found = [_loaded(path, SimulationRun) for path in _folder(out).glob("simulation-*.json")]
    # The plainest pruner first.
    return sorted(found, key=lambda run: (run.study, run.lanes, -PRUNERS.index(run.pruner)))


def load_storages(out: Path) -> list[StorageRun]:
    """Raises InputError where a file holds none."""
    found = [_loaded(path, StorageRun) for path in _folder(out).glob("storage-*.json")]
    return sorted(found, key=lambda run: STORAGES.index(run.storage))


def load_workers(out: Path) -> list[WorkersRun]:
    """Raises InputError where a file holds none."""
    return [_loaded(path, WorkersRun) for path in sorted(_folder(out).glob("workers-*.json"))]


def _folder(out: Path) -> Path:
    return out / "runs"


def _loaded(path: Path, kind: type[_Run]) -> _Run:
    try:
        return decoded(json.loads(path.read_bytes()), kind)
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{path} holds no run of this benchmark ({problem}): remove it or choose another --out"
        ) from None
