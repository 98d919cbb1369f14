"""Made-up recordings and runs for the tests of the scaling benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from bench.scaling.recorded import RecordedTrial, Recording, Shape
from bench.scaling.runs import Overhead, Simulated, SimulationRun, StorageRun, WorkersRound, WorkersRun
from studies.records import config_key

EPOCHS = 4
ENVIRONMENT = {"python": "3.11.0", "versions": {"optuna": "5.0"}, "commit": "abc", "device": "a machine", "threads": 2}


def recorded(kind: str, seconds: float, value: float = 0.5) -> RecordedTrial:
    """A trial of a structure, whose value rises to its last."""
    values = tuple(value * epoch / EPOCHS for epoch in range(1, EPOCHS + 1))
    return RecordedTrial({"value": value}, config_key({"kind": kind}), values, seconds)


def recording(
    trials: Sequence[RecordedTrial], *, extra: float = 0.0, shares: bool = True, together: bool = True
) -> Recording:
    kinds = {trial.shape: trial.shape.split('"')[3] for trial in trials}
    shapes = {key: Shape({"kind": kind}, extra, shares, together) for key, kind in kinds.items()}
    return Recording("s", EPOCHS, "maximize", tuple(trials), shapes)


def simulated(workers: int, makespan: float, *, idle: float = 0.0) -> Simulated:
    return Simulated(
        workers=workers,
        makespan=makespan,
        busy=workers * makespan * (1 - idle),
        waited=workers * makespan * idle / 2,
        trials=100,
        pruned=0,
        epochs=400,
        wasted=0,
        operations=600,
        events=700,
        best=0.9,
        decided=0.01 * workers,
    )


def simulation(pruner: str = "none", lanes: int = 1) -> SimulationRun:
    return SimulationRun(
        study="fruit-1",
        task="fruit",
        source="photos",
        fingerprint="f00d",
        study_command="pomona search fruit",
        direction="maximize",
        pruner=pruner,
        lanes=lanes,
        trials=100,
        epochs=EPOCHS,
        seed=0,
        recorded=20,
        structures=2,
        best=0.95,
        simulated=(simulated(1, 100.0), simulated(2, 55.0, idle=0.1), simulated(1024, 10.0, idle=0.95)),
        command="python -m bench.scaling simulate fruit-1",
        environment=ENVIRONMENT,
        load=1.5,
    )


def storage(name: str = "journal", milliseconds: float = 20.0) -> StorageRun:
    overheads = tuple(
        Overhead(there, 0.5, (milliseconds, milliseconds * 2, milliseconds), 18.0, {"asking the sampler": 15.0}, 30)
        for there in (0, 1000)
    )
    return StorageRun(
        storage=name,
        task="fruit",
        pruner="hyperband",
        epochs=8,
        measured=overheads,
        versions={} if name == "journal" else {"PostgreSQL": "15.3"},
        command="python -m bench.scaling storages",
        environment=ENVIRONMENT,
        load=1.5,
    )


def workers(rounds: Sequence[tuple[float, float, float]]) -> WorkersRun:
    """Of each round the seconds with one worker and a thread, one with two threads, and two workers."""
    found = tuple(
        WorkersRound(turn, count, threads, seconds, 12)
        for turn, each in enumerate(rounds)
        for (count, threads), seconds in zip([(1, 1), (1, 2), (2, 2)], each, strict=True)
    )
    return WorkersRun(
        task="fruit",
        trials=12,
        epochs=4,
        side=128,
        seed=0,
        rounds=found,
        command="python -m bench.scaling workers",
        environment=ENVIRONMENT,
        load=1.5,
    )
