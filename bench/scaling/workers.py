"""What workers of this machine are worth: the same search with one and with several, as processes that take turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces import InputError, task_named
from search_spaces.benchmarks import fixed_values
from studies import open_study
from training import environment

from .runs import WorkersRound, WorkersRun

_NAME = "workers"


@dataclass(frozen=True)
class Wanted:
    """`trials` of `epochs` epochs of `task` on one backbone at `side` pixels, drawn at random with `seed`, in so many
    `rounds`."""

    task: str
    data: Path
    weights_dir: Path
    trials: int
    epochs: int
    side: int
    workers: int
    rounds: int
    seed: int
    command: str


def measure(wanted: Wanted, note: Callable[[str], None]) -> WorkersRun:
    """Each round has one worker with a single thread, one with all cores, and several that share the cores.

    Raises:
        InputError: a search failed.
    """
    ways = [(1, 1), (1, os.cpu_count() or 1), (wanted.workers, os.cpu_count() or 1)]
    found = []
    for turn in range(wanted.rounds):
        # Who begins rotates.
        for workers, threads in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            seconds, trials = _searched(wanted, workers, threads)
            found.append(WorkersRound(turn, workers, threads, seconds, trials))
            note(
                f"round {turn + 1}: {workers} workers, {threads} threads: {3600 * trials / seconds:.0f} trials an hour"
            )
    return WorkersRun(
        task=wanted.task,
        trials=wanted.trials,
        epochs=wanted.epochs,
        side=wanted.side,
        seed=wanted.seed,
        rounds=tuple(found),
        command=wanted.command,
        environment=environment(torch.device("cpu")),
        load=os.getloadavg()[0],
    )


def _searched(wanted: Wanted, workers: int, threads: int) -> tuple[float, int]:
    """Seconds from the start of the first trial to the end of the last one, and how many ended; with empty caches."""
    with tempfile.TemporaryDirectory(prefix="pomona-workers-") as folder:
        storage = str(Path(folder) / "journal.log")
        options = {
            "--data": wanted.data,
            "--weights-dir": wanted.weights_dir,
            "--trials": wanted.trials,
            "--epochs": wanted.epochs,
            "--seed": wanted.seed,
            "--workers": workers,
            "--storage": storage,
            "--study": _NAME,
            # The same trials whatever the order in which they end.
            "--strategy": "plain",
            "--sampler": "random",
            "--pruner": "none",
        }
        arguments = [str(part) for option in options.items() for part in option]
        for name, value in fixed_values(task_named(wanted.task), wanted.side).items():
            arguments += ["--set", f"{name}={value}"]
        surroundings = {"OMP_NUM_THREADS": str(threads), "POMONA_CACHE": str(Path(folder) / "cache")}
        process = subprocess.run(
            [sys.executable, "-m", "pomona", "search", wanted.task, *arguments],
            env=os.environ | surroundings,
            capture_output=True,
            check=False,
        )
        if process.returncode:
            raise InputError(f"a search with {workers} workers failed: {process.stderr.decode().strip()[-500:]}")
        trials = open_study(_NAME, storage)._study.get_trials(deepcopy=False)
        starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
        ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
        return (max(ends) - min(starts)).total_seconds(), len(ends)
