"""Trains the list with every method, in blocks that take turns, and keeps what was measured after each."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from search_spaces import Config

from .job import Job
from .methods import OURS, Method
from .process import Ended, Process
from .results import Block, Results, Trained

Save = Callable[[Results], None]


class Trainer(Protocol):
    """A method that has been made ready, as `Process` is."""

    @property
    def startup(self) -> float: ...

    def train(self, configs: Sequence[Config], on_ended: Callable[[Ended], None]) -> list[Ended]: ...

    def close(self) -> None: ...


OpenTrainer = Callable[[Method, Job, Path], Trainer]


class Watch(Protocol):
    """Who wants to know how far it is."""

    def begins(self, method: str, what: str) -> None: ...

    def ended(self, method: str, seconds: float) -> None: ...


@dataclass(frozen=True)
class Planned:
    """A block to be trained: `configs` are places in the list."""

    method: Method
    number: int
    configs: tuple[int, ...]


def plan(methods: Sequence[Method], counts: Mapping[str, int], blocks: Mapping[str, int]) -> list[Planned]:
    """Blocks in the order in which they are trained: every method's first, then every one's second.

    Methods with fewer blocks than others have them spread evenly; who begins rotates. `counts` is how many configs, the
    first of the list, a method trains.
    """
    parts = {m.name: _parts(counts[m.name], min(blocks[m.name], counts[m.name])) for m in methods}
    rounds = max((len(part) for part in parts.values()), default=0)
    planned = []
    for turn in range(rounds):
        first = turn % len(methods)
        for method in (*methods[first:], *methods[:first]):
            mine = parts[method.name]
            planned += [
                Planned(method, number, configs)
                for number, configs in enumerate(mine)
                if number * rounds // len(mine) == turn
            ]
    return planned


def _parts(count: int, parts: int) -> list[tuple[int, ...]]:
    """0..count-1 in consecutive parts of nearly equal size."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return [tuple(range(low, high)) for low, high in itertools.pairwise(bounds)]


def measure(
    job: Job,
    planned: Sequence[Planned],
    results: Results,
    save: Save,
    watch: Watch,
    open_trainer: OpenTrainer = Process,
) -> None:
    """Trains the blocks that `results` does not have yet; `save` is called after each."""
    done = {(block.method, block.number) for block in results.blocks}
    trainers: dict[str, Trainer] = {}
    with tempfile.TemporaryDirectory(prefix="pomona-search-speed-") as folder:
        try:
            for block in planned:
                name = block.method.name
                if (name, block.number) in done:
                    continue
                watch.begins(name, f"block {block.number + 1}")
                startup = 0.0
                if name not in trainers:
                    trainers[name] = open_trainer(block.method, job, Path(folder) / name)
                    startup = trainers[name].startup
                configs = [results.configs[place] for place in block.configs]
                trained = _trained(trainers[name], configs, block.configs, watch, name)
                results.blocks.append(Block(name, block.number, startup, trained))
                save(results)
        finally:
            for trainer in trainers.values():
                trainer.close()


def measure_growth(
    job: Job,
    ours: Method,
    lists: Sequence[Sequence[Config]],
    results: Results,
    save: Save,
    watch: Watch,
    open_trainer: OpenTrainer = Process,
) -> None:
    """Trains longer lists with ours alone, each as one block of a process that finds no cache."""
    done = {len(block.trained) for block in results.growth}
    for configs in lists:
        if len(configs) in done:
            continue
        watch.begins(OURS, f"a list of {len(configs)}")
        with tempfile.TemporaryDirectory(prefix="pomona-search-speed-") as folder:
            trainer = open_trainer(ours, job, Path(folder))
            try:
                trained = _trained(trainer, configs, range(len(configs)), watch, OURS)
            finally:
                trainer.close()
        results.growth.append(Block(OURS, len(results.growth), trainer.startup, trained))
        save(results)


def _trained(
    trainer: Trainer, configs: Sequence[Config], places: Sequence[int], watch: Watch, name: str
) -> tuple[Trained, ...]:
    ended = trainer.train(configs, lambda one: watch.ended(name, one.seconds))
    return tuple(Trained(places[one.position], one.seconds, one.accuracy) for one in ended)
