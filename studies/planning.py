"""What a study that is there trains, and with what: its settings, with data and weights opened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from search_spaces import InputError, Task, task_named
from training import Data, Numerics, Runnable, open_data, resolve_device, runnable

from .going_on import is_of_object, needs_trust, same_or_error
from .plan import Budget, Plan, StoredData
from .samplers import check_sampler
from .search_run import Notify
from .settings import Settings
from .study import Study

CountProgress = Callable[[int, int], None]


def plan_to_go_on(
    study: Study,
    storage_url: str | None,
    notify: Notify,
    progress: CountProgress | None,
    *,
    task: Task | None,
    trust_task_file: bool,
    settings: Settings | None = None,
) -> Plan:
    """What a study's settings say, or others in their place, with the data and the weights opened again.

    Raises:
        InputError: they are not what they were, or the task is not known here.
    """
    settings = settings or study.settings
    check_sampler(settings.sampler)
    task = task or _task_to_resume(study, storage_url, notify, trusted=trust_task_file)
    device = resolve_device(settings.device)
    ready = runnable(
        task,
        settings.fixed,
        weights_dir=settings.weights_dir,
        download=settings.download_weights,
        backbones=settings.backbones,
    )
    data = open_data(settings.data, task, skip_unreadable=settings.skip_unreadable, progress=progress)
    now = replace(
        settings,
        task=task.name,
        space=ready.task.space.digest,
        metric=task.metric,
        direction=task.direction,
        fingerprint=data.fingerprint,
    )
    same_or_error(settings, now, study.name)
    return plan_of(study, ready, data, device, study.budget, settings.weights_dir)


def with_weights(settings: Settings, weights_dir: Path | None, *, download: bool) -> Settings:
    """A study's settings with the folder where weights lie now, and whether those that are nowhere are fetched."""
    return replace(
        settings,
        weights_dir=settings.weights_dir if weights_dir is None else weights_dir.resolve(),
        download_weights=settings.download_weights or download,
    )


def _task_to_resume(study: Study, storage_url: str | None, notify: Notify, *, trusted: bool) -> Task:
    """The task that a study's settings name. Its file is run, so one that a foreign storage names has to be trusted."""
    settings = study.settings
    if is_of_object(settings):
        raise InputError(
            f"study {study.name!r} was made with a Task object: pass it again, as pomona.resume(..., task=TASK)"
        )
    if settings.task_file is None:
        return task_named(settings.task)
    if not trusted and needs_trust(settings, storage_url):
        raise InputError(
            f"study {study.name!r} would run the task file {settings.task_file}, which its storage names: "
            "look at the file, then add --trust-task-file"
        )
    notify(f"task file: {settings.task_file} (run as the study's storage names it)")
    return task_named(settings.task_file)


def new_plan(
    ready: Runnable,
    data: Data,
    device: torch.device,
    numerics: Numerics,
    budget: Budget,
    weights_dir: Path | None,
    *,
    lanes: int,
    skip: bool,
) -> Plan:
    """What can run here, on opened data; another process opens these again by their location."""
    return Plan(
        task=ready.task,
        data=data,
        trials=budget.trials,
        epochs=budget.epochs,
        timeout=budget.timeout,
        device=device,
        numerics=numerics,
        weights_dir=weights_dir,
        download=ready.download,
        lanes=lanes,
        source=StoredData(data.location, skip),
    )


def plan_of(
    study: Study, ready: Runnable, data: Data, device: torch.device, budget: Budget, weights_dir: Path | None
) -> Plan:
    """The same with the lanes, the precision and the limits of a study."""
    settings = study.settings
    plan = new_plan(
        ready,
        data,
        device,
        study.numerics,
        budget,
        weights_dir,
        lanes=settings.lanes,
        skip=settings.skip_unreadable,
    )
    return replace(plan, trial_timeout=settings.trial_timeout)
