"""One run of one system, and the file that it is kept in: one a run, so that many runs can be made bit by bit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_spaces import InputError
from training import write_versioned_json
from training.machine.decode import decoded

MARKS = (30.0, 60.0, 180.0, 600.0)
"""The times, in seconds, at which the report compares systems."""

OPTUNA, RAY, PROBE, BEFORE, OURS = "optuna", "ray", "probe", "before", "ours"
SYSTEMS = {
    OPTUNA: "(a) Optuna: TPE and Hyperband, a process a trial, the expert's loop",
    RAY: "(b) Ray Tune: random search and ASHA, actors reused, the expert's loop",
    PROBE: "(c) a linear probe of every frozen backbone, cheapest first",
    BEFORE: "(d) ours at an earlier commit",
    OURS: "(e) ours",
}
TASKS = ("fruit", "clothing", "cats_dogs", "flowers", "cifar10")


@dataclass(frozen=True)
class Score:
    """Accuracy in 0..1 on the `n` photos of the part of `train` that was held back."""

    value: float
    n: int


@dataclass(frozen=True)
class Point:
    """A model that was there after `seconds`, counted from the start of the command.

    `value` is its accuracy in 0..1 on the `n` photos of `valid`; `what` names it. `test` is None where it was not
    scored, because it never was the best or only between marks.
    """

    seconds: float
    value: float
    n: int
    what: str
    test: Score | None = None


@dataclass(frozen=True)
class Run:
    """What a system had, and when. `seconds` is the time it was given and `ended` when it was done.

    `epochs` is how long the peers train a full trial. `pending` are marks' models of ours that are still to be scored
    on the part that was held back. `failure` is what a system said that ended with an error. `winner` and `ensemble`
    are the models that the leaderboard of ours names at the end: peers have none but their best value.
    """

    task: str
    system: str
    seed: int
    seconds: float
    epochs: int
    points: tuple[Point, ...]
    ended: float
    command: str
    environment: dict[str, Any]
    data: dict[str, Any]
    pending: bool = False
    failure: str = ""
    notes: tuple[str, ...] = field(default=())
    winner: Point | None = None
    ensemble: Point | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.system, self.seed


def run_path(out: Path, task: str, system: str, seed: int) -> Path:
    return out / "runs" / f"{task}-{system}-{seed}.json"


def save_run(out: Path, run: Run) -> None:
    write_versioned_json(run_path(out, *run.key), asdict(run))


def load_run(path: Path) -> Run:
    """Raises InputError where the file holds no run."""
    try:
        return decoded(json.loads(path.read_bytes()), Run)
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{path} holds no run of this benchmark ({problem}): remove it or choose another --out"
        ) from None


def load_runs(out: Path) -> list[Run]:
    """Every run below `out`: by task, seed and system in the order of the report."""
    runs = [load_run(path) for path in sorted((out / "runs").glob("*.json"))]
    systems, tasks = list(SYSTEMS), list(TASKS)

    def order(run: Run) -> tuple[int, str, int, int]:
        place = tasks.index(run.task) if run.task in tasks else len(tasks)
        return place, run.task, run.seed, systems.index(run.system)

    return sorted((run for run in runs if run.system in SYSTEMS), key=order)


def incumbents(points: Sequence[Point]) -> list[Point]:
    """The points that were better than all before them, in the order of time."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: point.seconds):
        if not best or point.value > best[-1].value:
            best.append(point)
    return best


def best_at(points: Sequence[Point], seconds: float) -> Point | None:
    """The best of what was there after `seconds`; of equals the first."""
    found = [point for point in incumbents(points) if point.seconds <= seconds]
    return found[-1] if found else None


def at_marks(points: Sequence[Point], seconds: float) -> list[Point]:
    """The different points that are the best at one of the marks, or at the end of `seconds`."""
    marks = [*(mark for mark in MARKS if mark < seconds), seconds]
    found = (best_at(points, mark) for mark in marks)
    return list(dict.fromkeys(point for point in found if point is not None))


def reached(points: Sequence[Point], value: float) -> float | None:
    """After how many seconds a model was at least as good as `value`."""
    return next((point.seconds for point in incumbents(points) if point.value >= value), None)
