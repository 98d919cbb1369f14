"""Peer (d): Optuna with one process a trial, the study in a journal file, the expert's trainer as the objective.

    python -m bench.peers.optuna_processes FOLDER NUMBER

is one trial: what Optuna's documentation on distributed optimisation has the user start several times. As many run at
once as there are cores, with one thread each. The photos are decoded once, for all of them.
"""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search_spaces import Config, SearchSpace
from studies.edges.optuna import suggest
from training import spec_of
from training.machine.process import configure

from .expert import Trainer
from .photo_files import photos_at
from .result import PeerResult, TrialEnd, cores

STUDY = "search"


@dataclass(frozen=True)
class Job:
    """What the process of a trial has to know; `dimensions` are the space's.

    With `kept` the weights of a trial that is better than all before it stay in its folder.
    """

    dimensions: dict[str, Any]
    data: Path
    weights: Path
    epochs: int
    seed: int
    pruned: bool
    kept: bool = False


def main(argv: Sequence[str]) -> int:
    """One trial."""
    import torch

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    torch.set_num_threads(1)
    folder, number = Path(argv[0]), int(argv[1])
    job = Job(**pickle.loads((folder / "job.pickle").read_bytes()))
    space = SearchSpace(job.dimensions)
    trained: list[Trainer] = []

    def objective(trial: optuna.Trial) -> float:
        started = time.perf_counter()
        spec = spec_of(suggest(trial, space))
        trainer = Trainer(spec, photos_at(folder, job.data, spec.input.resolution), job.weights, job.epochs, job.seed)
        while not trainer.finished:
            accuracy = trainer.train_epoch()
            trial.report(accuracy, len(trainer.curve))
            if job.pruned and not trainer.finished and trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("correct", trainer.correct)
        trial.set_user_attr("seconds", time.perf_counter() - started)
        trained.append(trainer)
        return trainer.curve[-1]

    study = optuna.load_study(
        study_name=STUDY,
        storage=_storage(folder),
        sampler=optuna.samplers.TPESampler(seed=1000 * job.seed + number),
        pruner=_pruner(job.epochs),
    )
    ended: list[int] = []
    study.optimize(objective, n_trials=1, callbacks=[lambda _, trial: ended.append(trial.number)])
    # After the trial's end has been recorded, so that its time has nothing of this.
    if job.kept and trained and study.best_trial.number == ended[0]:
        # Whole or not at all: the process may be killed at any moment.
        unfinished = _state(folder, ended[0]).with_suffix(".unfinished")
        torch.save(trained[0].model.state_dict(), unfinished)
        unfinished.replace(_state(folder, ended[0]))
    return 0


def train_all(
    configs: Sequence[Config], space: SearchSpace, data: Path, weights: Path, epochs: int, seed: int = 0
) -> list[PeerResult]:
    """Every config trained to its end, in their order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = Job(dict(space.dimensions), data.resolve(), weights.resolve(), epochs, seed, False)
        study = _prepare(folder, job, configs)
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
        job = Job(dict(space.dimensions), data.resolve(), weights.resolve(), epochs, seed, True)
        study = _prepare(folder, job, [first])

        def passed() -> bool:
            nonlocal seconds, complete
            done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            complete = len(done)
            if any(passes(float(trial.values[0]), len(trial.user_attrs["correct"])) for trial in done):
                seconds = time.perf_counter() - started
            return seconds is not None

        _run(folder, trials, until=passed)
    return seconds, complete


def search_until(
    space: SearchSpace,
    data: Path,
    weights: Path,
    epochs: int,
    deadline: float,
    folder: Path,
    seed: int = 0,
) -> list[TrialEnd]:
    """Searches `space` with TPE and Hyperband until `deadline`, which is one of `time.time`.

    What the trials share, and the weights of those that were the best so far, stay in `folder`, an empty one.

    Returns:
        The trials that were trained to their end by then.
    """
    job = Job(dict(space.dimensions), data.resolve(), weights.resolve(), epochs, seed, True, kept=True)
    study = _prepare(folder, job, [])
    _run(folder, sys.maxsize, until=lambda: False, deadline=deadline)
    ends = []
    for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        assert trial.datetime_complete is not None
        assert trial.value is not None
        state = _state(folder, trial.number)
        ends.append(
            TrialEnd(
                trial.datetime_complete.timestamp(),
                trial.value,
                len(trial.user_attrs["correct"]),
                dict(trial.params),
                state if state.is_file() else None,
            )
        )
    return [end for end in ends if end.at <= deadline]


def _state(folder: Path, number: int) -> Path:
    return folder / f"trial-{number}.pt"


def _prepare(folder: Path, job: Job, configs: Sequence[Config]) -> optuna.Study:
    """A study with `configs` as its first trials, and beside it what their processes need."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if configs:
        photos_at(folder, job.data, spec_of(configs[0]).input.resolution)
    (folder / "job.pickle").write_bytes(pickle.dumps(vars(job)))
    study = optuna.create_study(study_name=STUDY, storage=_storage(folder), direction="maximize")
    for config in configs:
        study.enqueue_trial(dict(config))
    return study


def _run(folder: Path, trials: int, until: Callable[[], bool], deadline: float = math.inf) -> None:
    """Keeps a process a core at work, each for one trial, until one that ended made `until` true, or `deadline`."""
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
            if (ended and until()) or time.time() >= deadline:
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
