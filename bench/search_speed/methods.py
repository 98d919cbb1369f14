"""The ways to train a list of configs. Each is made ready once, in a process of its own, then trains its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from search_spaces import Config, InputError

from .job import Job, Train


@dataclass(frozen=True)
class Method:
    """`together`: several configs train at once, so that only a block's seconds can be told.

    `blocks` is in how many parts it takes its list unless told otherwise.
    """

    name: str
    title: str
    prepare: Callable[[Job], Train]
    together: bool = False
    blocks: int = 4


def prepare_notebook(job: Job) -> Train:
    from bench.peers import notebook
    from training import spec_of

    def train(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        for position, config in enumerate(configs):
            result = notebook.train(spec_of(config), job.data, job.weights_dir, job.epochs, job.seed, device=job.device)
            yield position, result.accuracy

    return train


def prepare_expert(job: Job) -> Train:
    from bench.peers import expert
    from training import spec_of

    expert.load_photos(job.data, job.side)

    def train(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        for position, config in enumerate(configs):
            result = expert.train(spec_of(config), job.data, job.weights_dir, job.epochs, job.seed, device=job.device)
            yield position, result.accuracy

    return train


def prepare_ray(job: Job) -> Train:
    _cpu_only("ray", job)
    from bench.peers import expert, ray_tune

    ray_tune.start()
    expert.load_photos(job.data, job.side)

    def train(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        results = ray_tune.train_all(configs, job.data, job.weights_dir, job.epochs, job.seed)
        yield from enumerate(result.accuracy for result in results)

    return train


def prepare_optuna(job: Job) -> Train:
    _cpu_only("optuna", job)
    from bench.peers import expert, optuna_processes
    from search_spaces import task_named

    expert.load_photos(job.data, job.side)
    space = task_named(job.task).space

    def train(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        results = optuna_processes.train_all(configs, space, job.data, job.weights_dir, job.epochs, job.seed)
        yield from enumerate(result.accuracy for result in results)

    return train


def prepare_ours_alone(job: Job) -> Train:
    from . import ours

    return ours.prepare(job, lanes=False)


def prepare_ours(job: Job) -> Train:
    from . import ours

    return ours.prepare(job, lanes=True)


OURS = "ours"
METHODS = (
    Method("notebook", "(a) a notebook: ImageFolder, DataLoader, fp32", prepare_notebook),
    Method("expert", "(b) tuned by an expert, nothing shared", prepare_expert),
    # Every block starts actors, so it has few.
    Method("ray", "(c) Ray Tune, actors reused", prepare_ray, together=True, blocks=2),
    Method("optuna", "Optuna, a process a trial", prepare_optuna, together=True, blocks=2),
    Method("ours-no-lanes", "(d) ours without lanes", prepare_ours_alone),
    # What shares a structure must be in one block to share its lanes.
    Method(OURS, "(e) ours", prepare_ours, together=True, blocks=2),
)


def methods_named(names: Sequence[str]) -> list[Method]:
    """Raises InputError where there is no such method."""
    known = {method.name: method for method in METHODS}
    for name in names:
        if name not in known:
            raise InputError(f"unknown method {name!r}: there is {', '.join(known)}")
    return [known[name] for name in names]


def _cpu_only(method: str, job: Job) -> None:
    if job.device != "cpu":
        raise InputError(f"{method} is measured on a CPU only: leave it out of --methods, or use --device cpu")
