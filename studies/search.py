"""From a request to a study that runs: everything is checked before anything is written."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import optuna
import torch

from search_spaces import TASKS, Config, InputError, Task, task_file, task_named
from training import (
    Data,
    Measured,
    Runnable,
    environment,
    measure_numerics,
    open_data,
    resolve_device,
    runnable,
)

from .creation import is_whole
from .driver import run_study
from .engines import engine_named
from .location import location_of, shown_storage
from .names import check_new_name
from .plan import Budget, Outcome, Plan, Watch, default_budget
from .settings import PRUNERS, Settings
from .storage import is_in_memory, open_storage, refuse_unusable, storage_exists, study_names
from .study import Study

_MOST_LANES = 32
Notify = Callable[[str], None]
CountProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class SearchRequest:
    """What `pomona search` takes; `timeout` is in seconds.

    `task` is the name of one, the file that holds one, or a task itself; a study of the latter is resumed with it.
    What is None, empty or False was not said: a study that is there is followed, a new one gets the default, which may
    depend on the machine.
    """

    task: str | Task
    data: str | None = None
    weights_dir: Path | None = None
    study: str | None = None
    storage: str | None = None
    trials: int | None = None
    epochs: int | None = None
    timeout: float | None = None
    seed: int | None = None
    engine: str | None = None
    lanes: int | None = None
    device: str | None = None
    pruner: str | None = None
    fixed: Config = field(default_factory=dict)
    skip_unreadable: bool = False
    trust_split: bool = False
    download: bool = False
    command: str = ""


@dataclass(frozen=True)
class Search:
    """A study with the plan for it, ready to run."""

    study: Study
    plan: Plan
    engine: str
    command: str = ""

    @property
    def wanted(self) -> int:
        """Trials in all."""
        return self.plan.trials

    @property
    def ended(self) -> int:
        """Trials that have ended so far."""
        return self.study.ended

    def run(self, watch: Watch) -> Generator[Outcome, None, None]:
        """Runs until the plan is fulfilled; see `Driver.run` for what may be raised."""
        with self.study.running():
            self.study.extend(self.plan.trials, self.plan.timeout, self.command)
            yield from run_study(self.study, self.plan, engine_named(self.engine), watch)


def prepare_search(request: SearchRequest, notify: Notify, progress: CountProgress | None = None) -> Search:
    """Opens the data, the weights and the storage, and makes the study, or goes on with it where it is there.

    Raises:
        InputError: whatever is wrong with the request; nothing was written to the storage then.
    """
    if isinstance(request.task, Task):
        task, file = request.task, None
    else:
        task, file = task_named(request.task), task_file(request.task)
    check_new_name(f"{task.name}-1" if request.study is None else request.study)
    refuse_unusable(request.storage)
    if (study := _existing(request)) is not None:
        request = _following(request, study.settings)
    engine, pruner, seed = request.engine or "inline", request.pruner or PRUNERS[0], request.seed or 0
    if pruner not in PRUNERS:
        raise InputError(f"unknown pruner {pruner!r}: {', '.join(PRUNERS)}")
    engine_named(engine)
    device = resolve_device(request.device or "auto")
    budget = _budget(request, device)
    if study is not None:
        _enough_or_error(study, budget, request.storage)
    ready = runnable(task, request.fixed, weights_dir=request.weights_dir, download=request.download)
    data = open_data(
        request.data,
        task,
        skip_unreadable=request.skip_unreadable,
        trust_split=request.trust_split,
        progress=progress,
    )
    measured = measure_numerics(device)
    storage = open_storage(request.storage)
    name = _free_name(task.name, storage) if request.study is None else request.study
    settings = Settings(
        task=task.name,
        space=ready.task.space.digest,
        fixed=request.fixed,
        data=data.location,
        source=data.source,
        fingerprint=data.fingerprint,
        skip_unreadable=request.skip_unreadable,
        weights_dir=None if request.weights_dir is None else str(request.weights_dir.resolve()),
        download=ready.download,
        device=request.device or "auto",
        numerics=asdict(measured.numerics),
        seed=seed,
        trials=budget.trials,
        epochs=budget.epochs,
        timeout=budget.timeout,
        pruner=pruner,
        engine=engine,
        lanes=_lanes(request, budget),
        metric=task.metric,
        direction=task.direction,
        target=task.target.value if task.target else None,
        recipe_note=ready.recipe_note,
        command=request.command,
        environment=environment(device),
        task_file=None if file is None else str(file),
    )
    if study is not None:
        _same_or_error(study.settings, settings, name)
        notify(_going_on(study, budget, request.storage))
    else:
        study = Study.create(name, request.storage, settings, ready.task.recipe)
        notify(f"study {name}: new, in {shown_storage(request.storage)}")
        if is_in_memory(request.storage):
            notify(f"{shown_storage(request.storage)}: in memory, so the study is gone when this process ends")
    _say(notify, ready, data, device, measured, budget, settings.lanes)
    plan = _plan(ready, data, device, study, budget, request.weights_dir)
    return Search(study, plan, engine, request.command)


def _existing(request: SearchRequest) -> Study | None:
    """The study that the request names, where it is there already. Nothing is created."""
    if request.study is None or not storage_exists(request.storage):
        return None
    storage = open_storage(request.storage, require_existing=True)
    return Study.open(request.study, request.storage, to_run=True) if is_whole(request.study, storage) else None


def prepare_resume(
    name: str,
    storage_url: str | None,
    notify: Notify,
    progress: CountProgress | None = None,
    *,
    trials: int | None = None,
    timeout: float | None = None,
    command: str = "",
    task: Task | None = None,
    trust_task_file: bool = False,
) -> Search:
    """A study that was interrupted, with the settings it was started with; `trials` and `timeout` may be changed.

    Args:
        task: that of a study that was made with a `Task` object, which no storage keeps.
        trust_task_file: run the task file that the storage names, though the storage is not the user's own.

    Raises:
        InputError: there is no such study, its data, its weights or its space are not what they were, or it has more
            trials than are asked for.
    """
    study = Study.open(name, storage_url, to_run=True)
    settings = study.settings
    budget = Budget(
        trials=settings.trials if trials is None else trials,
        epochs=settings.epochs,
        timeout=settings.timeout if timeout is None else timeout,
    )
    _positive(budget)
    _enough_or_error(study, budget, storage_url)
    plan = plan_to_go_on(study, storage_url, notify, progress, task=task, trust_task_file=trust_task_file)
    notify(_going_on(study, budget, storage_url))
    notify(f"budget: {budget}, {settings.lanes} side by side (--trials and --timeout change it)")
    return Search(study, replace(plan, trials=budget.trials, timeout=budget.timeout), settings.engine, command)


def plan_to_go_on(
    study: Study,
    storage_url: str | None,
    notify: Notify,
    progress: CountProgress | None,
    *,
    task: Task | None,
    trust_task_file: bool,
) -> Plan:
    """What a study's settings say, with its data and weights opened again.

    Raises:
        InputError: they are not what they were, or the task is not known here.
    """
    settings = study.settings
    task = task or _task_to_resume(study, storage_url, notify, trusted=trust_task_file)
    device = resolve_device(settings.device)
    weights_dir = Path(settings.weights_dir) if settings.weights_dir else None
    ready = runnable(task, settings.fixed, weights_dir=weights_dir, download=settings.download)
    data = open_data(settings.data, task, skip_unreadable=settings.skip_unreadable, progress=progress)
    now = replace(
        settings,
        task=task.name,
        space=ready.task.space.digest,
        metric=task.metric,
        direction=task.direction,
        fingerprint=data.fingerprint,
    )
    _same_or_error(settings, now, study.name)
    return _plan(ready, data, device, study, study.budget, weights_dir)


def _task_to_resume(study: Study, storage_url: str | None, notify: Notify, *, trusted: bool) -> Task:
    """The task that a study's settings name. Its file is run, so one that a foreign storage names has to be trusted."""
    settings = study.settings
    if settings.task_file is None:
        if all(task.name != settings.task for task in TASKS):
            raise InputError(
                f"study {study.name!r} was made with a Task object: pass it again, as pomona.resume(..., task=TASK)"
            )
        return task_named(settings.task)
    if not trusted and location_of(storage_url) != location_of(None):
        raise InputError(
            f"study {study.name!r} would run the task file {settings.task_file}, which its storage names: "
            "look at the file, then add --trust-task-file"
        )
    notify(f"task file: {settings.task_file} (run as the study's storage names it)")
    return task_named(settings.task_file)


def _plan(
    ready: Runnable, data: Data, device: torch.device, study: Study, budget: Budget, weights_dir: Path | None
) -> Plan:
    return Plan(
        task=ready.task,
        data=data,
        trials=budget.trials,
        epochs=budget.epochs,
        timeout=budget.timeout,
        device=device,
        numerics=study.numerics,
        weights_dir=weights_dir,
        download=ready.download,
        lanes=study.settings.lanes,
    )


def _budget(request: SearchRequest, device: torch.device) -> Budget:
    """What was asked for; the machine's defaults for the rest. A number of trials without a timeout has no limit."""
    default = default_budget(device, torch.get_num_threads())
    budget = Budget(
        trials=default.trials if request.trials is None else request.trials,
        epochs=default.epochs if request.epochs is None else request.epochs,
        timeout=default.timeout if request.timeout is None and request.trials is None else request.timeout,
    )
    _positive(budget)
    return budget


def _lanes(request: SearchRequest, budget: Budget) -> int:
    """Few trials in many structures tell more than many in few: the number of structures grows with that of trials."""
    if request.lanes is None:
        return min(max(round(math.sqrt(budget.trials) / 2), 1), _MOST_LANES)
    if request.lanes < 1:
        raise InputError(f"--lanes must be at least 1, not {request.lanes}")
    return request.lanes


def _positive(budget: Budget) -> None:
    if budget.trials < 1 or budget.epochs < 1:
        raise InputError(f"--trials and --epochs must be at least 1, not {budget.trials} and {budget.epochs}")
    if budget.timeout is not None and budget.timeout <= 0:
        raise InputError("--timeout must be longer than nothing")


def _following(request: SearchRequest, settings: Settings) -> SearchRequest:
    """The request with what it does not say taken from a study that is there."""
    said_trials = request.trials is not None
    weights_dir = None if settings.weights_dir is None else Path(settings.weights_dir)
    return replace(
        request,
        data=settings.data if request.data is None else request.data,
        weights_dir=weights_dir if request.weights_dir is None else request.weights_dir,
        trials=request.trials if said_trials else settings.trials,
        epochs=settings.epochs if request.epochs is None else request.epochs,
        timeout=settings.timeout if request.timeout is None and not said_trials else request.timeout,
        seed=settings.seed if request.seed is None else request.seed,
        engine=request.engine or settings.engine,
        lanes=settings.lanes if request.lanes is None else request.lanes,
        device=request.device or settings.device,
        pruner=request.pruner or settings.pruner,
        fixed=request.fixed or settings.fixed,
        skip_unreadable=request.skip_unreadable or settings.skip_unreadable,
        download=request.download or settings.download,
    )


def _enough_or_error(study: Study, budget: Budget, storage: str | None) -> None:
    """Raises where a study has more trials than are asked for: perhaps so many more were meant."""
    if (ended := study.ended) > budget.trials:
        more = _resume_command(study, ended + budget.trials, storage)
        raise InputError(
            f"study {study.name!r} has {ended} trials already, and --trials counts all of them: "
            f"for {budget.trials} more, {more}"
        )


def _going_on(study: Study, budget: Budget, storage: str | None) -> str:
    ended = study.ended
    if ended < budget.trials:
        return f"study {study.name}: going on, {ended} of {budget.trials} trials are done"
    more = _resume_command(study, 2 * budget.trials, storage)
    return f"study {study.name}: done, all of its {budget.trials} trials have ended; go on with: {more}"


def _resume_command(study: Study, trials: int, storage: str | None) -> str:
    where = "" if storage is None else f" --storage {shlex.quote(storage)}"
    return f"pomona resume {shlex.quote(study.name)}{where} --trials {trials}"


def _same_or_error(old: Settings, new: Settings, name: str) -> None:
    """A study is one task, one space, one data set, one seed and one length of training."""
    for part, what in (
        ("task", "task"),
        ("fingerprint", "data (fingerprint)"),
        ("fixed", "--set"),
        ("space", "search space; weights may have come or gone since"),
        ("metric", "metric"),
        ("direction", "direction"),
        ("epochs", "--epochs"),
        ("seed", "--seed"),
        ("pruner", "--pruner"),
        ("lanes", "--lanes"),
    ):
        before, after = getattr(old, part), getattr(new, part)
        if before != after:
            leave = f"leave {what} out, or " if what.startswith("--") else ""
            raise InputError(
                f"study {name!r} was made with another {what} ({before}, not {after}): {leave}choose another --study"
            )


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


def _free_name(task: str, storage: optuna.storages.BaseStorage) -> str:
    taken = set(study_names(storage))
    number = 1
    while f"{task}-{number}" in taken:
        number += 1
    return f"{task}-{number}"
