"""Training one config to a checkpoint: what `pomona train` and `pomona.train` do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces import Config, InputError, Task, task_named
from studies import Study, TrialRecord, open_study
from studies.settings import Settings
from training import (
    CheckStop,
    Data,
    EpochResult,
    FitResult,
    Numerics,
    Prefixes,
    PrefixStore,
    check_checkpoint_folder,
    fit,
    has_checkpoint,
    load_backbone,
    load_checkpoint,
    measure_numerics,
    open_data,
    resolve,
    resolve_device,
    runnable,
    splits_for,
)

from .checkpoint_folder import HeldFolder
from .confirmed_text import mean_text

DEFAULT_EPOCHS = 8
OnEpoch = Callable[[EpochResult], None]
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainRequest:
    """What `pomona train` takes. Of `config` and `from_study` at most one; neither is the recipe."""

    task: str | Task
    config: Config | None = None
    from_study: str | None = None
    trial: int | None = None
    storage: str | None = None
    fixed: Config = field(default_factory=dict)
    data: str | None = None
    weights_dir: Path | None = None
    epochs: int | None = None
    seed: int = 0
    out: Path | None = None
    device: str = "auto"
    skip_unreadable: bool = False
    trust_split: bool = False
    download: bool = False


@dataclass(frozen=True)
class TrainRun:
    """A training run ready to start, or to go on where its folder's checkpoint stands."""

    task: Task
    config: Config
    epochs: int
    out: Path
    resumes: bool
    start: Callable[[OnEpoch | None, OnBatch | None, CheckStop], FitResult]


def prepare_training(
    request: TrainRequest, notify: Callable[[str], None], progress: Callable[[int, int], None] | None = None
) -> TrainRun:
    """Checks everything, opens the data, and makes and holds the folder of the checkpoint until the run's end.

    Raises:
        InputError: whatever is wrong with the request, a finished checkpoint in its folder included, or another process
            that trains into it.
    """
    task = request.task if isinstance(request.task, Task) else task_named(request.task)
    config, epochs = dict(task.recipe), request.epochs or DEFAULT_EPOCHS
    data, weights_dir, download, skip = request.data, request.weights_dir, request.download, request.skip_unreadable
    numerics: Numerics | None = None
    settings: Settings | None = None
    if request.config is not None and request.from_study is not None:
        raise InputError("a config and a study to take it from exclude each other")
    if request.from_study is not None:
        study = open_study(request.from_study, request.storage)
        settings = study.settings
        if settings.task != task.name:
            raise InputError(f"study {study.name!r} is one of task {settings.task}, not of {task.name}")
        best, why = _trial_to_train(study, request.trial)
        config, epochs = dict(best.config), request.epochs or settings.epochs
        data = settings.data if data is None else data
        weights_dir = settings.weights_dir if weights_dir is None else weights_dir
        download, skip = download or settings.download_weights, skip or settings.skip_unreadable
        numerics = study.numerics  # what the study's figure was reached with
        notify(f"config of trial {best.number} of {study.name}{why}")
    elif request.config is not None:
        config = request.config
    if request.from_study is None and request.config is None:
        ready = runnable(task, request.fixed, weights_dir=weights_dir, download=download)
        config, download = ready.task.recipe, ready.download
        notify(f"config: {ready.recipe_note}")
    else:
        config = task.space.validate(config | request.fixed)
    device = resolve_device(request.device)
    numerics = measure_numerics(device).numerics if numerics is None else numerics
    photos = open_data(data, task, skip_unreadable=skip, trust_split=request.trust_split, progress=progress)
    if settings is not None and photos.fingerprint != settings.fingerprint:
        _on_other_data(request, settings, photos, notify)
    notify(f"data: {photos.summary()}")
    notify(f"device: {device.type}, {numerics}")
    splits = splits_for(photos, resolve(task, config).input.resolution)
    # Last, so that nothing has been made where anything above is wrong.
    held = HeldFolder(request.out, task.name)
    out = held.path
    try:
        resumes = _goes_on(out, epochs)
    except BaseException:
        held.give_back()
        raise

    def start(on_epoch: OnEpoch | None, on_batch: OnBatch | None, check_stop: CheckStop) -> FitResult:
        with held:
            return fit(
                task,
                config,
                splits,
                epochs=epochs,
                seed=request.seed,
                prefixes=Prefixes(
                    backbones=functools.partial(load_backbone, weights_dir=weights_dir, download=download),
                    numerics=numerics,
                    device=device,
                    store=PrefixStore(),
                    check_stop=check_stop,
                ),
                on_epoch=on_epoch,
                on_batch=on_batch,
                checkpoint_to=out,
                resume_from=out if resumes else None,
            )

    return TrainRun(task, config, epochs, out, resumes, start)


def _trial_to_train(study: Study, number: int | None) -> tuple[TrialRecord, str]:
    """The trial `number` of a study, or its best, and why it is that: a confirmed one goes before a lucky one."""
    if number is not None:
        return study.trial(number), ""
    if confirmed := study.confirmed():
        best = confirmed[0]
        figure = mean_text(study.settings.metric, best.mean, best.ci95, best.seeds)
        return study.trial(best.number), f", the best of {len(confirmed)} confirmed: {figure}"
    if (trial := study.best()) is None:
        raise InputError(f"study {study.name!r} has no trial that ran to its end: pomona leaderboard says why")
    return trial, ", the best of the search, not confirmed on fresh seeds"


def _goes_on(out: Path, epochs: int) -> bool:
    """Whether `out` holds a checkpoint to go on from.

    Raises:
        InputError: that is finished or damaged, or files of somebody else's are in the way.
    """
    resumes = has_checkpoint(out)
    if resumes and (record := load_checkpoint(out).record).epoch == record.epochs:
        raise InputError(f"{out} holds a finished checkpoint: choose another --out")
    check_checkpoint_folder(out)
    return resumes


def _on_other_data(request: TrainRequest, settings: Settings, data: Data, notify: Callable[[str], None]) -> None:
    """Raises InputError where the study's own data has changed; where the request names other data, says so."""
    if request.data is None:
        raise InputError(
            f"{settings.data} is no longer the data of study {request.from_study!r} (fingerprint {data.fingerprint}, "
            f"not {settings.fingerprint}): put it back, or name what to train on with --data"
        )
    notify(f"the config was found on other data: {settings.source} (fingerprint {settings.fingerprint})")


def describe(run: TrainRun, result: FitResult) -> dict[str, Any]:
    """The outcome as plain data; the losses in full, so that two runs can be compared to the last digit."""
    grouped = result.grouped
    return {
        "checkpoint": str(run.out),
        "task": run.task.name,
        "config": run.config,
        "value": result.value,
        "n": result.n,
        "ci95": result.estimate.ci95 if result.estimate else None,
        "groups_ci95": grouped.ci95 if grouped else None,
        **result.secondary,
        "losses": [epoch.loss for epoch in result.curve],
        "valid_losses": [epoch.valid_loss for epoch in result.curve],
        "values": [epoch.value for epoch in result.curve],
        "seed": result.seed,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "features_per_second": result.features_per_second,
        "environment": result.environment,
    }
