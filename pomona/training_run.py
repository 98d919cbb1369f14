"""Training one config to a checkpoint: what `pomona train` and `pomona.train` do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search_spaces import Config, InputError, SearchSpace, Task, task_named
from studies import Study, TrialRecord, open_study
from studies.settings import Settings
from training import (
    CheckStop,
    Data,
    EpochResult,
    FitResult,
    LaneState,
    Numerics,
    Prefixes,
    PrefixStore,
    check_checkpoint_folder,
    fit,
    has_checkpoint,
    keep_state,
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
from .from_study import Wanted, most_unfrozen_in, seed_of, state_to_start_from, trial_to_train

DEFAULT_EPOCHS = 8
OnEpoch = Callable[[EpochResult], None]
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainRequest:
    """What `pomona train` takes. Of `config` and `from_study` at most one; neither is the recipe.

    `trial` is a number, or "ensemble" where `prepare_run` takes it. `seed` None is 0, or that of the trial that is gone
    on with. `as_saved` keeps the state of a trial of `from_study` that was interrupted as it is.
    """

    task: str | Task
    config: Config | None = None
    from_study: str | None = None
    trial: int | str | None = None
    storage: str | None = None
    fixed: Config = field(default_factory=dict)
    data: str | None = None
    weights_dir: Path | None = None
    epochs: int | None = None
    seed: int | None = None
    as_saved: bool = False
    out: Path | None = None
    device: str = "auto"
    skip_unreadable: bool = False
    trust_split: bool = False
    download: bool = False


@dataclass(frozen=True)
class TrainRun:
    """A training run ready to start, or to go on where its folder's checkpoint stands.

    `trains` is False where a state is kept as it is: then the result may be of fewer than `epochs`.
    """

    task: Task
    config: Config
    epochs: int
    out: Path
    resumes: bool
    trains: bool
    start: Callable[[OnEpoch | None, OnBatch | None, CheckStop], FitResult]


@dataclass(frozen=True)
class _Chosen:
    """What is trained and with what, before the data are open. `study` and `trial` are those that it comes from."""

    config: Config
    epochs: int
    data: str | None
    weights_dir: Path | None
    download: bool
    skip_unreadable: bool
    numerics: Numerics | None = None
    study: Study | None = None
    trial: TrialRecord | None = None


def prepare_training(
    request: TrainRequest, notify: Callable[[str], None], progress: Callable[[int, int], None] | None = None
) -> TrainRun:
    """Checks everything, opens the data, and makes and holds the folder of the checkpoint until the run's end.

    Raises:
        InputError: whatever is wrong with the request, a finished checkpoint in its folder included, or another process
            that trains into it.
    """
    task = request.task if isinstance(request.task, Task) else task_named(request.task)
    chosen = _chosen(request, task, notify)
    config, epochs, study = chosen.config, chosen.epochs, chosen.study
    device = resolve_device(request.device)
    numerics = measure_numerics(device).numerics if chosen.numerics is None else chosen.numerics
    photos = open_data(
        chosen.data, task, skip_unreadable=chosen.skip_unreadable, trust_split=request.trust_split, progress=progress
    )
    if study is not None and photos.fingerprint != study.settings.fingerprint:
        _on_other_data(request, study.settings, photos, notify)
    notify(f"data: {photos.summary()}")
    notify(f"device: {device.type}, {numerics}")
    splits = splits_for(photos, resolve(task, config).input.resolution)
    # Last, so that nothing has been made where anything above is wrong.
    held = HeldFolder(request.out, task.name)
    out = held.path
    try:
        resumes = _goes_on(out, epochs)
        seed = _seed(request, chosen.trial, out if resumes else None)
        start, unfrozen = _start(request, chosen, task, seed, photos.fingerprint, resumes, notify)
    except BaseException:
        held.give_back()
        raise
    keeps = start is not None and (request.as_saved or len(start.curve) == epochs)

    def train(on_epoch: OnEpoch | None, on_batch: OnBatch | None, check_stop: CheckStop) -> FitResult:
        prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=chosen.weights_dir, download=chosen.download),
            numerics=numerics,
            device=device,
            store=PrefixStore(),
            unfrozen=unfrozen,
            check_stop=check_stop,
        )
        run: dict[str, Any] = {"epochs": epochs, "seed": seed, "prefixes": prefixes, "checkpoint_to": out}
        with held:
            if start is not None and keeps:
                return keep_state(task, config, splits, start, **run)
            resume_from = out if resumes else None
            return fit(
                task, config, splits, on_epoch=on_epoch, on_batch=on_batch, resume_from=resume_from, start=start, **run
            )

    return TrainRun(task, config, epochs, out, resumes, not keeps, train)


def _chosen(request: TrainRequest, task: Task, notify: Callable[[str], None]) -> _Chosen:
    """The config, and what a study says where it comes from one. Raises InputError."""
    if request.config is not None and request.from_study is not None:
        raise InputError("a config and a study to take it from exclude each other")
    if request.as_saved and request.from_study is None:
        raise InputError("--as-saved keeps the state of a study's trial: name the study with --from-study")
    if request.trial is not None and request.from_study is None:
        raise InputError("--trial is one of a study: name the study with --from-study")
    chosen = _Chosen(
        request.config or {},
        request.epochs or DEFAULT_EPOCHS,
        request.data,
        request.weights_dir,
        request.download,
        request.skip_unreadable,
    )
    if request.from_study is not None:
        chosen = _from_study(request, chosen, task, notify)
    elif request.config is None:
        task.space.check_narrowing(request.fixed)
        ready = runnable(task, request.fixed, weights_dir=request.weights_dir, download=request.download)
        notify(f"config: {ready.recipe_note}")
        return replace(chosen, config=ready.task.recipe, download=ready.download)
    return replace(chosen, config=changed_config(task.space, chosen.config, request.fixed))


def changed_config(space: SearchSpace, config: Config, fixed: Config) -> Config:
    """`config` with the values of `fixed`; what has no meaning beside these goes, unless `fixed` names it itself.

    Raises:
        InputError: a value does not fit, or a dimension that takes part now has none.
    """
    if not fixed:
        return space.validate(config)
    space.check_part(fixed)
    return space.validate(space.activate(config | fixed) | fixed)


def _from_study(request: TrainRequest, chosen: _Chosen, task: Task, notify: Callable[[str], None]) -> _Chosen:
    """With the config of a study's trial, and what the study says where the request does not. Raises InputError."""
    assert request.from_study is not None
    study = open_study(request.from_study, request.storage)
    settings = study.settings
    if settings.task != task.name:
        raise InputError(f"study {study.name!r} is one of task {settings.task}, not of {task.name}")
    assert not isinstance(request.trial, str)
    trial, why = trial_to_train(study, request.trial)
    notify(f"config of trial {trial.number} of {study.name}{why}")
    return _Chosen(
        config=dict(trial.config),
        epochs=request.epochs or settings.epochs,
        data=settings.data if chosen.data is None else chosen.data,
        weights_dir=settings.weights_dir if chosen.weights_dir is None else chosen.weights_dir,
        download=chosen.download or settings.download_weights,
        skip_unreadable=chosen.skip_unreadable or settings.skip_unreadable,
        numerics=study.numerics,  # what the study's figure was reached with
        study=study,
        trial=trial,
    )


def _start(
    request: TrainRequest,
    chosen: _Chosen,
    task: Task,
    seed: int,
    fingerprint: str,
    resumes: bool,
    notify: Callable[[str], None],
) -> tuple[LaneState | None, int]:
    """The saved state of a study's trial that the run goes on from, and the most stages that its search unfreezes.

    Raises:
        InputError: the state is to be kept as it is, and can't be.
    """
    study, trial = chosen.study, chosen.trial
    if study is None or trial is None:
        return None, 0
    if resumes and request.as_saved:
        raise InputError("--out holds a checkpoint already: choose another one")
    start = None
    if not resumes:
        wanted = Wanted(chosen.config, chosen.epochs, seed, fingerprint, request.as_saved)
        start = state_to_start_from(study, trial, wanted, notify)
    if trial.state != "interrupted":
        return start, 0
    return start, most_unfrozen_in(study, task)


def _seed(request: TrainRequest, trial: TrialRecord | None, resumed: Path | None) -> int:
    """The seed that is asked for; otherwise that of the checkpoint that a study's trial is gone on with, or its own."""
    if request.seed is not None or trial is None:
        return request.seed or 0
    return seed_of(trial) if resumed is None else load_checkpoint(resumed).record.seed


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
        "reason": result.reason,
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
