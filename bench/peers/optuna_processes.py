"""Peer (d): Optuna with one process a trial, the study in a journal file, the expert's trainer as the objective.

    python -m bench.peers.optuna_processes FOLDER NUMBER

is one trial: what Optuna's documentation on distributed optimisation has the user start several times. As many run at
once as there are cores, with one thread each. The photos are decoded once, for all of them.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search_spaces import Config, SearchSpace
from studies.edges.optuna import suggest
from training import spec_of
from training.machine.process import configure

from .expert import Photos, Trainer, load_photos
from .result import PeerResult, cores

STUDY = "search"
_ARRAYS = tuple(field.name for field in fields(Photos))


@dataclass(frozen=True)
class Job:
    """What the process of a trial has to know; `dimensions` are the space's."""

    dimensions: dict[str, Any]
    weights: Path
    epochs: int
    seed: int
    pruned: bool


def main(argv: Sequence[str]) -> int:
    """One trial."""
    import torch

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    torch.set_num_threads(1)
    folder, number = Path(argv[0]), int(argv[1])
    job = Job(**pickle.loads((folder / "job.pickle").read_bytes()))
    photos = Photos(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS})
    space = SearchSpace(job.dimensions)

    def objective(trial: optuna.Trial) -> float:
        started = time.perf_counter()
        trainer = Trainer(spec_of(suggest(trial, space)), photos, job.weights, job.epochs, job.seed)
        while not trainer.finished:
            accuracy = trainer.train_epoch()
            trial.report(accuracy, len(trainer.curve))
            if job.pruned and not trainer.finished and trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("correct", trainer.correct)
        trial.set_user_attr("seconds", time.perf_counter() - started)
        return trainer.curve[-1]

    study = optuna.load_study(
        study_name=STUDY,
        storage=_storage(folder),
        sampler=optuna.samplers.TPESampler(seed=1000 * job.seed + number),
        pruner=_pruner(job.epochs),
    )
    study.optimize(objective, n_trials=1)
    return 0


def train_all(
    configs: Sequence[Config], space: SearchSpace, data: Path, weights: Path, epochs: int, seed: int = 0
) -> list[PeerResult]:
    """Every config trained to its end, in their order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = _prepare(folder, Job(dict(space.dimensions), weights.resolve(), epochs, seed, False), data, configs)
        _run(folder, len(configs), until=lambda: False)
        return [
            PeerResult(
                float(trial.values[0]),
                trial.user_attrs["correct"],
                trial.user_attrs["seconds"],
                [value for _, value in sorted(trial.intermediate_values.items())],
            )
            for trial in study.trials
        ]


def search(
    space: SearchSpace,
    first: Config,
    data: Path,
    weights: Path,
    epochs: int,
    trials: int,
    passes: Callable[[float, int], bool],
    seed: int = 0,
) -> tuple[float | None, int]:
    """Searches `space` with TPE and Hyperband until a trial passes (accuracy, photos).

    Returns:
        Seconds until then, None where none did, and how many trials were trained to their end.
    """
    started = time.perf_counter()
    seconds: float | None = None
    complete = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = _prepare(folder, Job(dict(space.dimensions), weights.resolve(), epochs, seed, True), data, [first])

        def passed() -> bool:
            nonlocal seconds, complete
            done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            complete = len(done)
            if any(passes(float(trial.values[0]), len(trial.user_attrs["correct"])) for trial in done):
                seconds = time.perf_counter() - started
            return seconds is not None

        _run(folder, trials, until=passed)
    return seconds, complete


def _prepare(folder: Path, job: Job, data: Path, configs: Sequence[Config]) -> optuna.Study:
    """A study with `configs` as its first trials, and beside it what their processes need."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    photos = load_photos(data, spec_of(configs[0]).input.resolution)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(photos, name))
    (folder / "job.pickle").write_bytes(pickle.dumps(vars(job)))
    study = optuna.create_study(study_name=STUDY, storage=_storage(folder), direction="maximize")
    for config in configs:
        study.enqueue_trial(dict(config))
    return study


def _run(folder: Path, trials: int, until: Callable[[], bool]) -> None:
    """Keeps a process a core at work, each for one trial, until one that ended made `until` true."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running: list[subprocess.Popen[bytes]] = []
    started = 0
    try:
        while running or started < trials:
            while started < trials and len(running) < cores():
                command = [sys.executable, "-m", "bench.peers.optuna_processes", str(folder), str(started)]
                running.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))
                started += 1
            ended = [process for process in running if process.poll() is not None]
            for process in ended:
                if process.returncode != 0:
                    raise RuntimeError(f"the process of a trial ended with code {process.returncode}")
                running.remove(process)
            if ended and until():
                return
            time.sleep(0.02)
    finally:
        for process in running:
            process.kill()
            process.wait()


def _storage(folder: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def _pruner(epochs: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)


if __name__ == "__main__":
    configure()
    raise SystemExit(main(sys.argv[1:]))
