"""What every candidate is worth on every task: trained as often as needed, never twice, cheap ones first."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from search_spaces import Config, InputError, Task
from studies.portfolio import adapted
from studies.records import config_key
from training import (
    Data,
    FitResult,
    Numerics,
    Prefixes,
    PrefixStore,
    Spec,
    fit_lanes,
    load_backbone,
    measure_numerics,
    most_unfrozen,
    open_data,
    resolve,
    runnable,
    write_versioned_json,
)
from training.data.splits import short_digest
from training.machine.decode import decoded
from training.machine.device import describe_device
from training.machine.environment import commit

SEED = 0
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cell:
    """A config, adapted to `task`, trained once there: `value` is 0 where it could not be trained.

    `machine` names the processor and how it multiplies, `commit` the code.
    """

    task: str
    fingerprint: str
    config: Config
    epochs: int
    value: float
    n: int
    seconds: float
    machine: str
    commit: str


@dataclass(frozen=True)
class Work:
    """Cells of one structure and task, which train together; `cost` is in passes over 1,000 x 1,000 pixels."""

    task: str
    configs: tuple[Config, ...]
    cost: float


@dataclass(frozen=True)
class Matrix:
    """The cells of some configs and tasks, kept in `folder`. `data` and `tasks` are by the tasks' names.

    Cells of another machine, or of one that multiplies otherwise, are other cells: they are not compared.
    """

    folder: Path
    tasks: dict[str, Task]
    data: dict[str, Data]
    epochs: int
    numerics: Numerics = field(default=Numerics())

    @property
    def machine(self) -> str:
        return f"{describe_device(_CPU)}, {self.numerics}"

    def cell(self, task: str, config: Config) -> Cell | None:
        """That of a config of the task's own space, if it was trained."""
        path = self._path(task, config)
        if not path.is_file():
            return None
        try:
            return decoded(json.loads(path.read_bytes()), Cell)
        except ValueError as problem:
            raise InputError(f"{path} is damaged ({problem}): remove it") from None

    def keep(self, task: str, config: Config, result: FitResult) -> None:
        value = 0.0 if result.value is None else result.value
        cell = Cell(
            task,
            self.data[task].fingerprint,
            config,
            self.epochs,
            value,
            result.n,
            round(result.seconds, 3),
            self.machine,
            commit(),
        )
        write_versioned_json(self._path(task, config), asdict(cell))

    def _path(self, task: str, config: Config) -> Path:
        identity: list[object] = [
            task,
            self.data[task].fingerprint,
            self.epochs,
            SEED,
            config_key(config),
            self.machine,
        ]
        return self.folder / f"{task}-{short_digest(identity)}.json"

    def own(self, task: str, config: Config) -> Config:
        """`config` as one of the task's space, as far as it can run here."""
        return adapted(config, self.tasks[task].space)

    def missing(self, configs: Sequence[Config]) -> list[Work]:
        """What is to be trained, those of one structure and task together; the cheapest structures first."""
        groups: dict[tuple[str, object], list[Config]] = {}
        specs: dict[tuple[str, object], Spec] = {}
        for config in configs:
            for name, task in self.tasks.items():
                own = self.own(name, config)
                if self.cell(name, own) is not None:
                    continue
                spec = resolve(task, own)
                key = (name, (spec.input, spec.backbone))
                specs[key] = spec
                if own not in groups.setdefault(key, []):
                    groups[key].append(own)
        costs = {
            (name, kind): _cost(specs[name, kind], self.data[name], len(own), self.epochs)
            for (name, kind), own in groups.items()
        }
        # One structure on all tasks, then the next, so that there are whole rows soon.
        of_kind: dict[object, float] = {}
        for (_, kind), cost in costs.items():
            of_kind[kind] = of_kind.get(kind, 0.0) + cost
        order = sorted(groups, key=lambda key: (of_kind[key[1]], str(key[1]), costs[key]))
        return [Work(key[0], tuple(groups[key]), costs[key]) for key in order]


def open_matrix(folder: Path, tasks: dict[str, Task], data: Path, weights_dir: Path | None, epochs: int) -> Matrix:
    """Opens the photos of every task, each in its folder below `data`.

    Raises:
        InputError: photos or weights are missing.
    """
    here = {
        name: runnable(task, {}, weights_dir=weights_dir, download=False).task for name, task in sorted(tasks.items())
    }
    photos = {name: open_data(str(data / name), task) for name, task in here.items()}
    return Matrix(folder, here, photos, epochs, measure_numerics(_CPU).numerics)


def fill(
    matrix: Matrix,
    configs: Sequence[Config],
    weights_dir: Path | None,
    seconds: float | None,
    say: Callable[[str], None],
) -> None:
    """Trains what is missing, and keeps each cell as soon as it is there; begins nothing more after `seconds`."""
    work = matrix.missing(configs)
    prefixes = Prefixes(
        backbones=functools.partial(load_backbone, weights_dir=weights_dir),
        numerics=matrix.numerics,
        device=_CPU,
        store=PrefixStore(),
        unfrozen=max(most_unfrozen(task.space) for task in matrix.tasks.values()),
    )
    started, total, done = time.monotonic(), sum(one.cost for one in work), 0.0
    for place, one in enumerate(work):
        spent = time.monotonic() - started
        if seconds is not None and spent > seconds:
            say(f"the time is up: {len(work) - place} of {len(work)} groups are left, the same command goes on")
            return
        left = f", about {spent / done * (total - done) / 60:.0f} min left" if done else ""
        say(f"{one.task}: group {place + 1} of {len(work)}, {len(one.configs)} configs{left}")
        task = matrix.tasks[one.task]
        splits = matrix.data[one.task].at(resolve(task, one.configs[0]).input.resolution)
        results = fit_lanes(task, one.configs, splits, epochs=matrix.epochs, seed=SEED, prefixes=prefixes)
        for config, result in zip(one.configs, results, strict=True):
            matrix.keep(one.task, config, result)
        done += one.cost


def _cost(spec: Spec, data: Data, configs: int, epochs: int) -> float:
    """Frozen stages see every view once, for all configs of a group; what is trained sees every epoch of each."""
    photos = sum(sum(counts.values()) for counts in data.counts.values())
    passes = float(max(spec.input.views, 1))
    if spec.backbone.unfrozen:
        # Backwards as well, through a part of the network.
        passes += configs * epochs * spec.schedule.fine_tune_share
    return photos * spec.input.resolution**2 * passes / 1e6
