"""For programs that live in Ray Tune: a task's search space, and a trainable that `tune.Tuner` takes.

    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    import pomona.ray

    tuner = tune.Tuner(
        tune.with_resources(pomona.ray.trainable("fruit", data="photos"), {"cpu": 2}),
        param_space=pomona.ray.param_space("fruit"),
        tune_config=tune.TuneConfig(
            metric="accuracy", mode="max", num_samples=20, scheduler=ASHAScheduler(time_attr="epoch", max_t=8)
        ),
    )
    best = tuner.fit().get_best_result().config

Trials of one machine share what frozen stages give through pomona's cache. `pomona search --engine ray` does more: it
trains heads side by side, knows what work costs, and confirms what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Task, Value, task_named

from . import arguments as to

if TYPE_CHECKING:
    from training import EpochResult


def param_space(
    task: str | PathLike[str] | Task,
    *,
    weights_dir: str | PathLike[str] | None = None,
    fixed: Mapping[str, Value | Sequence[Value]] | None = None,
) -> dict[str, Any]:
    """What `tune.Tuner(param_space=...)` takes: one domain a dimension that can run here.

    Ray's form has no conditions: a sample gives a value to every dimension, and the trainable leaves out those that do
    not take part.

    Args:
        weights_dir: a folder with pretrained weights; backbones without weights are left out.
        fixed: dimensions narrowed as by `pomona.search`.

    Raises:
        InputError: there is no such task, no backbone that can run, or Ray is not installed.
    """
    from studies.edges import ray

    return ray.param_space(_runnable(task, weights_dir, fixed).space)


def trainable(
    task: str | PathLike[str] | Task,
    *,
    data: str | PathLike[str] | None = None,
    weights_dir: str | PathLike[str] | None = None,
    fixed: Mapping[str, Value | Sequence[Value]] | None = None,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> Callable[[Mapping[str, Any]], None]:
    """A function that trains a sample of `param_space` and reports the task's metric after every epoch.

    What it reports has the metric under its name (`accuracy`, `rmse`, ...), `epoch`, counted from 1, and `loss`. A
    trial that comes to nothing, as its loss is lost or its memory does not suffice, fails with the reason. Paths must
    mean the same on all machines.

    Args:
        data: photos, a table or texts; None is the task's own.
        epochs: of a full trial. A scheduler that stops trials early goes by `epoch`, with `max_t` so many.

    Raises:
        InputError: there is no such task, or no backbone that can run.
    """
    ready = _runnable(task, weights_dir, fixed)
    location = None if data is None else str(Path(fspath(data)).resolve())
    weights = None if weights_dir is None else Path(weights_dir).resolve()

    def train(sample: Mapping[str, Any]) -> None:
        from training.machine.process import configure

        configure()
        import functools

        from ray import tune

        from studies.edges.ray import config_of
        from training import (
            Prefixes,
            PrefixStore,
            State,
            fit,
            load_backbone,
            measure_numerics,
            most_unfrozen,
            open_data,
            resolve,
            resolve_device,
        )

        config = config_of(ready.space, sample)
        place = resolve_device(device)
        splits = open_data(location, ready).at(resolve(ready, config).input.resolution)
        prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=weights),
            numerics=measure_numerics(place).numerics,
            device=place,
            store=PrefixStore(),
            unfrozen=most_unfrozen(ready.space),
        )

        def report(epoch: EpochResult) -> None:
            tune.report({ready.metric: epoch.value, "epoch": epoch.epoch, "loss": epoch.loss})

        result = fit(ready, config, splits, epochs=epochs, seed=seed, prefixes=prefixes, on_epoch=report)
        if result.state != State.COMPLETE:
            raise RuntimeError(f"{result.state}: {result.reason}")

    train.__name__ = ready.name
    return train


def _runnable(
    task: str | PathLike[str] | Task,
    weights_dir: str | PathLike[str] | None,
    fixed: Mapping[str, Value | Sequence[Value]] | None,
) -> Task:
    """The task narrowed to what can run here."""
    from training import runnable

    named = task if isinstance(task, Task) else task_named(fspath(task))
    weights = None if weights_dir is None else Path(weights_dir)
    narrowed = to.narrowing("fixed", fixed or {})
    return runnable(named, narrowed, weights_dir=weights, download=False).task
