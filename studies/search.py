"""From a request to a study that runs: everything is checked before anything is written."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import replace

import optuna
import torch

from search_spaces import Task, task_file, task_named, value_text
from training import (
    Data,
    Measured,
    Runnable,
    environment,
    load_backbone,
    measure_numerics,
    open_data,
    resolve_device,
    runnable,
)
from training.models.ladder import ladder_of

from .creation import NameTakenError, is_whole
from .done import check_target
from .engines import default_workers, engine_for, engine_named
from .enqueued import Enqueued, count_text, enqueued_from, warm_start
from .going_on import enough_or_error, going_on, same_or_error
from .location import shown_storage
from .names import check_new_name
from .outlook import Outlook, outlook_of
from .placement import Placement
from .plan import Budget, default_budget
from .planning import CountProgress, new_plan, plan_of, plan_to_go_on, with_weights
from .request import RUNGS, ResumeRequest, SearchRequest, check_values
from .samplers import check_sampler
from .search_run import Notify, Search
from .settings import Settings
from .storage import is_in_memory, open_storage, refuse_unusable, storage_exists, study_names
from .strategies import costs_of
from .study import Study
from .ways_out import ANEW, only_options, options_of

_MOST_LANES = 32
# Heads that train side by side on frozen features where nothing but time ends a search.
_HEADS = 16
# A time does not say how many trials there will be: lanes are those of so many.
_TRIALS_BY_TIME = 64


def prepare_search(request: SearchRequest, notify: Notify, progress: CountProgress | None = None) -> Search:
    """Opens the data, the weights and the storage, and makes the study, or goes on with it where it is there.

    Raises:
        InputError: whatever is wrong with the request; nothing was written to the storage then.
    """
    task = request.task if isinstance(request.task, Task) else task_named(request.task)
    check_new_name(f"{task.name}-1" if request.study is None else request.study)
    refuse_unusable(request.storage)
    if (study := _existing(request)) is not None:
        request = request.following(study.settings)
    values = request.values()
    check_sampler(values["sampler"])
    check_target(task.metric, task.direction, values["stop_at"])
    device = resolve_device(values["device"])
    engine, placement = _engine(request, device)
    budget = _budget(request, device)
    within = placement.time_within(budget, device.type)
    if study is not None:
        enough_or_error(study, budget, request.storage)
    else:
        task.space.check_narrowing(request.fixed)
    backbones = () if study is None else study.settings.backbones
    ready = runnable(
        task,
        request.fixed,
        weights_dir=request.weights_dir,
        download=request.download_weights,
        backbones=backbones,
    )
    enqueued = _enqueued(request, ready, notify)
    data = open_data(
        request.data,
        task,
        skip_unreadable=request.skip_unreadable,
        trust_split=request.trust_split,
        progress=progress,
    )
    measured = measure_numerics(device)
    outlook = None
    begins = values["strategy"] == RUNGS and study is None
    ladder = ladder_of(ready.task.space, asked=request.fixed) if begins else None
    # An outlook measures every backbone. Where nothing depends on it, the first heads come before that.
    later = ladder is not None and not request.is_open_ended and budget.trials is None and placement.workers == 1
    if later:
        # Fetched and read now: what is wrong with them is said before anything is written.
        for name in ready.backbones:
            load_backbone(name, weights_dir=request.weights_dir, download=ready.download)
    elif begins:
        outlook = _outlook(ready, data, device, measured, replace(budget, timeout=within), request)
        if request.is_open_ended:
            within = outlook.sensible_seconds
            budget = replace(budget, timeout=within)
    request = replace(request, engine=engine, workers=placement.workers)
    settings = _settings(request, task, budget, ready, data, measured, device)
    study = _made_or_followed(study, request, settings, ready, notify)
    if settings.stop_at is not None:
        notify(
            f"target: ends when the best trial's 95 % interval lies beyond {value_text(task.metric, settings.stop_at)}"
        )
    limited = replace(budget, timeout=within)
    _say(notify, ready, data, device, measured, limited, settings.lanes)
    if outlook is not None:
        notify(f"plan: {outlook}")
    if ladder is not None and ladder.settled:
        settled = ", ".join(f"{name} {value}" for name, value in ladder.settled.items())
        notify(f"settled: {settled} (--set NAME=VALUES searches it)")
    _say_workers(notify, engine, placement)
    plan = plan_of(study, ready, data, device, limited, request.weights_dir)
    plan = replace(plan, trial_timeout=settings.trial_timeout)
    return Search(study, plan, engine, request.command, placement, settings, enqueued, notify, says_plan=later)


def _enqueued(request: SearchRequest, ready: Runnable, notify: Notify) -> tuple[Enqueued, ...]:
    """The configs that the request brings, checked."""
    found: list[Enqueued] = []
    if request.enqueue is not None:
        found += enqueued_from(request.enqueue, ready.task.space)
        file = f" of {request.enqueue}" if isinstance(request.enqueue, str) else ""
        notify(f"enqueue: {count_text(len(found))}{file}")
    if request.warm_start:
        more, words = warm_start(request.warm_start, request.storage, ready.task.space, study=request.study)
        found += more
        notify(words)
    return tuple(found)


def _outlook(
    ready: Runnable, data: Data, device: torch.device, measured: Measured, budget: Budget, request: SearchRequest
) -> Outlook:
    """What the search is going to take; measures the speed of backbones where it is not known."""
    lanes = _lanes(budget, RUNGS) if request.lanes is None else request.lanes
    plan = new_plan(
        ready, data, device, measured.numerics, budget, request.weights_dir, lanes=lanes, skip=request.skip_unreadable
    )
    return outlook_of(plan, costs_of(plan, request.seed or 0))


def _engine(request: SearchRequest, device: torch.device) -> tuple[str, Placement]:
    """The engine and its workers; what is not said follows from the other one and from the machine.

    Raises:
        InputError: there is no such engine, or it can't have so many workers.
    """
    engine, workers, share = request.engine, request.workers, request.trials_per_gpu or 1
    if workers is None:
        workers = 1 if engine == "inline" else default_workers(device, share)
    if engine is None:
        engine = engine_for(workers) if request.ray_address is None else "ray"
    placement = Placement(workers, share, request.ray_address)
    engine_named(engine, placement).check()
    return engine, placement


def _settings(
    request: SearchRequest,
    task: Task,
    budget: Budget,
    ready: Runnable,
    data: Data,
    measured: Measured,
    device: torch.device,
) -> Settings:
    """The request with a value for everything that it leaves out, and what was found."""
    file = None if isinstance(request.task, Task) else task_file(request.task)
    found = {
        "data": data.location,
        "weights_dir": None if request.weights_dir is None else request.weights_dir.resolve(),
        "trials": budget.trials,
        "epochs": budget.epochs,
        "timeout": budget.timeout,
        "lanes": _lanes(budget, request.values()["strategy"]) if request.lanes is None else request.lanes,
        "download_weights": ready.download,
    }
    return Settings(
        **(request.values() | found),
        task=task.name,
        space=ready.task.space.digest,
        source=data.source,
        fingerprint=data.fingerprint,
        numerics=measured.numerics,
        metric=task.metric,
        direction=task.direction,
        target=task.target.value if task.target else None,
        recipe_note=ready.recipe_note,
        command=request.command,
        environment=environment(device),
        task_file=None if file is None else str(file),
        backbones=ready.backbones,
    )


def _made_or_followed(
    study: Study | None, request: SearchRequest, settings: Settings, ready: Runnable, notify: Notify
) -> Study:
    """The study that is there, if it can go on with these settings, or else a new one."""
    if study is not None:
        same_or_error(study.settings, settings, study.name)
        notify(going_on(study, settings.budget, request.storage, settings.stop_at))
        return study
    study = _made(request, settings, ready)
    notify(f"study {study.name}: new, in {shown_storage(request.storage)}")
    if is_in_memory(request.storage):
        notify(f"{shown_storage(request.storage)}: in memory, so the study is gone when this process ends")
    return study


def _made(request: SearchRequest, settings: Settings, ready: Runnable) -> Study:
    """A new study; where no name was asked for, of the first one that nobody has or is about to take."""
    taken: set[str] = set()
    while True:
        name = request.study or _free_name(settings.task, open_storage(request.storage), taken)
        try:
            return Study.create(name, request.storage, settings, ready.task.recipe)
        except NameTakenError:
            if request.study is not None:
                raise
            taken.add(name)


def _existing(request: SearchRequest) -> Study | None:
    """The study that the request names, where it is there already. Nothing is created."""
    if request.study is None or not storage_exists(request.storage):
        return None
    storage = open_storage(request.storage, require_existing=True)
    return Study.open(request.study, request.storage, to_run=True) if is_whole(request.study, storage) else None


@only_options(options_of(ResumeRequest), ANEW)
def prepare_resume(request: ResumeRequest, notify: Notify, progress: CountProgress | None = None) -> Search:
    """A study that was interrupted, with the settings it was started with; `trials` and `timeout` may be changed.

    Raises:
        InputError: there is no such study, its data, its weights or its space are not what they were, or it has more
            trials than are asked for.
    """
    study = Study.open(request.study, request.storage, to_run=True)
    settings = study.settings
    check_values({"trials": request.trials, "timeout": request.timeout, "workers": request.workers})
    engine, placement = settings.engine, settings.placement
    if request.workers is not None:
        placement = replace(placement, workers=request.workers)
        engine = engine if engine == "ray" else engine_for(request.workers)
    engine_named(engine, placement).check()
    budget = Budget(
        trials=settings.trials if request.trials is None else request.trials,
        epochs=settings.epochs,
        timeout=settings.timeout if request.timeout is None else request.timeout,
        gpu_hours=settings.max_gpu_hours,
    )
    within = placement.time_within(budget, resolve_device(settings.device).type)
    enough_or_error(study, budget, request.storage)
    settings = with_weights(settings, request.weights_dir, download=request.download_weights)
    plan = plan_to_go_on(
        study,
        request.storage,
        notify,
        progress,
        task=request.task,
        trust_task_file=request.trust_task_file,
        settings=settings,
    )
    notify(going_on(study, budget, request.storage, settings.stop_at))
    limited = replace(budget, timeout=within)
    notify(f"budget: {limited}, {settings.lanes} side by side (--trials and --timeout change it)")
    _say_workers(notify, engine, placement)
    plan = replace(plan, trials=budget.trials, timeout=within)
    limits = replace(settings, trials=budget.trials, timeout=budget.timeout)
    return Search(study, plan, engine, request.command, placement, limits, notify=notify)


def _budget(request: SearchRequest, device: torch.device) -> Budget:
    """What was asked for; the machine's defaults for the rest. A number of trials without a timeout has no limit."""
    default = default_budget(device)
    return Budget(
        trials=request.trials,
        epochs=default.epochs if request.epochs is None else request.epochs,
        timeout=default.timeout if request.is_open_ended else request.timeout,
        gpu_hours=request.max_gpu_hours,
    )


def _lanes(budget: Budget, strategy: str) -> int:
    """Few trials in many structures tell more than many in few: the number of structures grows with that of trials.

    On rungs many are heads, which cost next to nothing side by side.
    """
    if strategy == RUNGS:
        return _HEADS if budget.trials is None else min(max(round(math.sqrt(budget.trials)), 1), _HEADS)
    trials = _TRIALS_BY_TIME if budget.trials is None else budget.trials
    return min(max(round(math.sqrt(trials) / 2), 1), _MOST_LANES)


def _say(
    notify: Notify,
    ready: Runnable,
    data: Data,
    device: torch.device,
    measured: Measured,
    budget: Budget,
    lanes: int,
) -> None:
    notify(f"data: {data.summary()}")
    for note in ready.notes:
        notify(note)
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in measured.images_per_second.items())
    when = "measured earlier" if measured.cached else "measured now"
    notify(f"device: {device.type}, {measured.numerics} ({when}; probe images a second: {speeds})")
    notify(f"budget: {budget}, {lanes} side by side (--trials, --epochs, --timeout, --lanes change it)")


def _say_workers(notify: Notify, engine: str, placement: Placement) -> None:
    if placement.workers > 1:
        notify(f"engine: {engine}, {placement.workers} workers (--workers changes it)")


def _free_name(task: str, storage: optuna.storages.BaseStorage, others: Set[str]) -> str:
    """The first name of the task's that no study has and that is none of `others`."""
    taken = others | set(study_names(storage))
    number = 1
    while f"{task}-{number}" in taken:
        number += 1
    return f"{task}-{number}"
