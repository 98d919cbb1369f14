"""What a trial costs beside its training: asked for, reported, judged and ended as a search does it, by storage."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from bench.trial_rate import stopwatches
from search_spaces import Task
from studies import Plan, SearchRequest, Study
from studies.driver import run_study
from studies.request import PLAIN
from studies.settings import Settings
from training import Data, Numerics, environment

from .answering import AnsweringEngine, made_up
from .filling import fill
from .runs import JOURNAL, POSTGRESQL, PROXY, SQLITE, Overhead, StorageRun
from .servers import kept_for_a_while, opened, proxied, server_version


@dataclass(frozen=True)
class Wanted:
    """What is to be measured: so many trials of so many epochs with each of `sizes` trials in the study before."""

    task: Task
    sizes: tuple[int, ...]
    trials: int
    epochs: int
    pruner: str
    postgres: str | None
    command: str


@dataclass(frozen=True)
class _Way:
    """A way to a study that is there: its name, what it needs, and what opens the study to be run."""

    name: str
    versions: dict[str, str]
    opened: Callable[[], contextlib.AbstractContextManager[Study]]


def measure(wanted: Wanted, note: Callable[[str], None]) -> Iterator[StorageRun]:
    """The storages one after the other."""
    with tempfile.TemporaryDirectory(prefix="pomona-") as folder:
        for name, file in ((JOURNAL, "journal.log"), (SQLITE, "studies.sqlite")):
            url = str(Path(folder) / file)
            study = Study.create("scaling", url, _settings(wanted), wanted.task.recipe)
            yield from _measured(study, [_Way(name, {}, functools.partial(_run_here, url, "scaling"))], wanted, note)
    if wanted.postgres is None:
        note(f"{POSTGRESQL}: left out, as no --postgres names a database")
        return
    with contextlib.ExitStack() as stack:
        study = stack.enter_context(kept_for_a_while(wanted.postgres, _settings(wanted), wanted.task.recipe))
        yield from _measured(study, _ways_to(wanted.postgres, study, stack, note), wanted, note)


def _ways_to(url: str, study: Study, stack: contextlib.ExitStack, note: Callable[[str], None]) -> list[_Way]:
    """To a study in a PostgreSQL database: straight, and where that is possible through Optuna's proxy."""
    versions = {"PostgreSQL": server_version(study), "psycopg": _version("psycopg")}
    ways = [_Way(POSTGRESQL, versions, lambda: _run_here(url, study.name))]
    if not (grpc := _version("grpcio")):
        note(f"{PROXY}: left out, as grpcio is not installed")
        return ways
    proxy = stack.enter_context(proxied(url))

    @contextlib.contextmanager
    def through() -> Iterator[Study]:
        # Without the lock of a study that runs, which is the database's own: nobody else knows this study.
        yield opened(study.name, proxy, url)

    return [*ways, _Way(PROXY, versions | {"grpcio": grpc}, through)]


@contextlib.contextmanager
def _run_here(url: str, name: str) -> Iterator[Study]:
    study = Study.open(name, url, to_run=True)
    with study.running():
        yield study


def _measured(study: Study, ways: Sequence[_Way], wanted: Wanted, note: Callable[[str], None]) -> Iterator[StorageRun]:
    """Each way at each size; the ways take turns, on one study that grows."""
    found: dict[str, list[Overhead]] = {way.name: [] for way in ways}
    for size in wanted.sizes:
        started = time.perf_counter()
        fill(study, wanted.task, size, lambda number: made_up(number, wanted.epochs))
        note(f"{ways[0].name}: filled to {size} trials in {time.perf_counter() - started:.0f} s")
        for way in ways:
            found[way.name].append(overhead := _overhead(way, wanted))
            note(
                f"{way.name}, {overhead.there} trials there: {overhead.median:.1f} ms a trial, "
                f"{overhead.processor:.1f} computed"
            )
    for way in ways:
        yield StorageRun(
            storage=way.name,
            task=wanted.task.name,
            pruner=wanted.pruner,
            epochs=wanted.epochs,
            measured=tuple(found[way.name]),
            versions=way.versions,
            command=wanted.command,
            environment=environment(torch.device("cpu")),
            load=os.getloadavg()[0],
        )


def _overhead(way: _Way, wanted: Wanted) -> Overhead:
    started = time.perf_counter()
    with way.opened() as study:
        opened = time.perf_counter() - started
        there = study.ended
        # The first trial reads what is there, and is not counted.
        plan = _plan(wanted, there + wanted.trials + 1)
        engine, times, computed = AnsweringEngine(), [], []
        with stopwatches() as spent:
            for number, _ in enumerate(run_study(study, plan, engine, lambda _progress: None)):
                times.append(time.perf_counter())
                computed.append(time.process_time())
                if not number:
                    before, said = dict(spent), engine.epochs
    trials = len(times) - 1
    parts = {part: 1000 * (spent[part] - before[part]) / trials for part in spent}
    return Overhead(
        there=there,
        opened=opened,
        milliseconds=tuple(1000 * (after - at) for at, after in itertools.pairwise(times)),
        processor=1000 * (computed[-1] - computed[0]) / trials,
        parts={part: spent for part, spent in parts.items() if spent},
        operations=2 * trials + engine.epochs - said,
    )


def _plan(wanted: Wanted, trials: int) -> Plan:
    return Plan(
        task=wanted.task,
        data=cast(Data, None),  # nothing is trained, and nobody opens it
        trials=trials,
        epochs=wanted.epochs,
        timeout=None,
        device=torch.device("cpu"),
        numerics=Numerics(),
        weights_dir=None,
        download=False,
    )


def _settings(wanted: Wanted) -> Settings:
    """Of a search by the sampler and the pruner alone: these ask the storage most."""
    task = wanted.task
    request = SearchRequest(
        task,
        data="none",
        trials=max(wanted.sizes) + wanted.trials,
        epochs=wanted.epochs,
        seed=0,
        workers=1,
        engine=AnsweringEngine.name,
        lanes=1,
        device="cpu",
        strategy=PLAIN,
        pruner=wanted.pruner,
    )
    found: dict[str, Any] = {
        "task": task.name,
        "space": task.space.digest,
        "source": "none",
        "fingerprint": "none",
        "numerics": Numerics(),
        "metric": task.metric,
        "direction": task.direction,
        "target": None,
        "recipe_note": "",
        "command": wanted.command,
        "environment": environment(torch.device("cpu")),
    }
    return Settings(**request.values(), **found)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
