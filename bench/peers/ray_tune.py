"""Peer (c): Ray Tune with the expert's trainer as its class Trainable, actors reused, a core a trial.

The photos are decoded once and shared through Ray's object store; as many trials run at once as there are cores.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from search_spaces import Config, SearchSpace
from studies.edges.ray import config_of, param_space
from training import spec_of
from training.machine.process import configure

from .expert import Photos, Trainer, load_photos
from .photo_files import photos_at
from .result import PeerResult, TrialEnd, cores

CONFIG = "config"


class Trial(tune.Trainable):
    """An epoch a step. `reset_config` lets Tune give the next trial to an actor that is there already.

    The photos are `photos`, or with `files`, a folder for decoded photos and that of the photos, those of each config's
    resolution. With `kept` the weights of a trial stay in that folder if it is the best of its actor.
    """

    def setup(
        self,
        config: dict[str, Any],
        photos: Photos | None = None,
        weights: Path | None = None,
        epochs: int = 1,
        seed: int = 0,
        dimensions: dict[str, Any] | None = None,
        files: tuple[Path, Path] | None = None,
        kept: Path | None = None,
    ) -> None:
        assert (photos is None) != (files is None)
        assert weights is not None
        configure()
        torch.set_num_threads(1)
        self.photos, self.weights, self.epochs, self.seed, self.dimensions = photos, weights, epochs, seed, dimensions
        self.files, self.kept, self.best = files, kept, -1.0
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, sample: dict[str, Any]) -> None:
        # With a list of configs a sample holds one of them whole; with a search it holds a value a dimension.
        config = sample[CONFIG] if self.dimensions is None else config_of(SearchSpace(self.dimensions), sample)
        spec = spec_of(config)
        photos = photos_at(*self.files, spec.input.resolution) if self.files is not None else self.photos
        assert photos is not None
        self.trainer = Trainer(spec, photos, self.weights, self.epochs, self.seed)

    def step(self) -> dict[str, Any]:
        accuracy = self.trainer.train_epoch()
        finished = self.trainer.finished
        if finished and self.kept is not None and accuracy > self.best:
            self.best = accuracy
            torch.save(self.trainer.model.state_dict(), _state(self.kept, self.trial_id))
        # `done` is the word by which Tune knows that a trial has ended.
        details = {"correct": self.trainer.correct, "curve": self.trainer.curve} if finished else {}
        return {"accuracy": accuracy, "done": finished, **details}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        pass


def start() -> None:
    """Starts Ray on this machine, where it does not run yet."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Nobody reads its tables and TensorBoard files here.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    if not ray.is_initialized():
        ray.init(
            address="local", num_cpus=cores(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )


def train_all(configs: Sequence[Config], data: Path, weights: Path, epochs: int, seed: int = 0) -> list[PeerResult]:
    """Every config trained to its end, in their order."""
    start()
    photos = load_photos(data, spec_of(configs[0]).input.resolution)
    trainable = tune.with_parameters(Trial, photos=photos, weights=weights.resolve(), epochs=epochs, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={CONFIG: tune.grid_search(list(configs))},
            tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        if results.errors:
            raise results.errors[0]
        by_trial = []
        for number in range(len(results)):
            result = results[number]
            assert result.metrics is not None
            metrics = result.metrics
            peer = PeerResult(metrics["accuracy"], metrics["correct"], metrics["time_total_s"], metrics["curve"])
            by_trial.append((metrics["config"][CONFIG], peer))
    return [next(peer for trained, peer in by_trial if trained == config) for config in configs]


class _UntilPassed(tune.Stopper):
    """Stops everything once a trial that was trained to its end passes."""

    def __init__(self, passes: Callable[[float, int], bool], started: float) -> None:
        self.passes, self.started = passes, started
        self.seconds: float | None = None
        self.complete = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if result["done"]:
            self.complete += 1
            if self.seconds is None and self.passes(result["accuracy"], len(result["correct"])):
                self.seconds = time.perf_counter() - self.started
        return False

    def stop_all(self) -> bool:
        return self.seconds is not None


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
    """Searches `space` under ASHA until a trial passes (accuracy, photos).

    Returns:
        Seconds until then, None where none did, and how many trials were trained to their end.
    """
    started = time.perf_counter()
    start()
    photos = load_photos(data, spec_of(first).input.resolution)
    trainable = tune.with_parameters(
        Trial,
        photos=photos,
        weights=weights.resolve(),
        epochs=epochs,
        seed=seed,
        dimensions=dict(space.dimensions),
    )
    until = _UntilPassed(passes, started)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=param_space(space),
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=trials,
                reuse_actors=True,
                search_alg=BasicVariantGenerator(points_to_evaluate=[dict(first)], random_state=seed),
                scheduler=ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, stop=until),
        )
        tuner.fit()
    return until.seconds, until.complete


class _Ends(tune.Stopper):
    """Stops nothing; notes when which trial was trained to its end, and how well."""

    def __init__(self, space: SearchSpace, kept: Path) -> None:
        self.space, self.kept = space, kept
        self.found: list[TrialEnd] = []

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if result["done"] and "correct" in result:
            state = _state(self.kept, trial_id)
            config = config_of(self.space, result["config"])
            end = TrialEnd(
                time.time(), result["accuracy"], len(result["correct"]), config, state if state.is_file() else None
            )
            self.found.append(end)
        return False

    def stop_all(self) -> bool:
        return False


def search_until(
    space: SearchSpace,
    data: Path,
    weights: Path,
    epochs: int,
    deadline: float,
    folder: Path,
    seed: int = 0,
) -> list[TrialEnd]:
    """Searches `space` under ASHA until `deadline`, which is one of `time.time`.

    What the trials share, and the weights of those that were the best so far, stay in `folder`, an empty one.

    Returns:
        The trials that were trained to their end by then.
    """
    start()
    folder = folder.resolve()
    trainable = tune.with_parameters(
        Trial,
        weights=weights.resolve(),
        epochs=epochs,
        seed=seed,
        dimensions=dict(space.dimensions),
        files=(folder, data.resolve()),
        kept=folder,
    )
    ends = _Ends(space, folder)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=param_space(space),
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=-1,
            time_budget_s=max(deadline - time.time(), 1.0),
            reuse_actors=True,
            search_alg=BasicVariantGenerator(random_state=seed),
            scheduler=ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0, stop=ends),
    )
    tuner.fit()
    return [end for end in ends.found if end.at <= deadline]


def _state(folder: Path, trial: str) -> Path:
    return folder / f"trial-{trial}.pt"
