"""One more driver for a study that others run: `pomona worker`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from search_spaces import InputError, Task
from training import environment, resolve_device
from training.data.photos import TRUST_SPLIT
from training.machine.device import is_processor

from .done import goal_reached
from .engines import default_workers, engine_for, engine_named
from .location import shown_storage
from .placement import Placement
from .planning import CountProgress, plan_to_go_on
from .request import check_values
from .search_run import Notify, Search
from .settings import Settings
from .study import Study
from .ways_out import only_options, options_of

# What decides what a trial comes to, and how the storage is read.
_PACKAGES = ("torch", "torchvision", "timm", "optuna")


@dataclass(frozen=True)
class WorkerRequest:
    """What `pomona worker` takes. None: as the study has it, or, of `device` and `workers`, what suits this machine.

    `timeout` is in seconds, None is no limit; `task` and `trust_task_file` as in `ResumeRequest`.
    """

    study: str
    storage: str | None = None
    data: str | None = None
    weights_dir: Path | None = None
    device: str | None = None
    workers: int | None = None
    timeout: float | None = None
    task: Task | None = None
    trust_task_file: bool = False


@only_options(options_of(WorkerRequest))
def prepare_worker(request: WorkerRequest, notify: Notify, progress: CountProgress | None = None) -> Search:
    """A search that joins those that run the study, once this machine proved to be fit for it.

    Raises:
        InputError: the study's storage has one driver at a time, or packages, data, weights or the kind of device are
            not those of the study.
    """
    check_values({"workers": request.workers, "timeout": request.timeout})
    study = Study.open(request.study, request.storage, to_run=True)
    study.check_joinable()
    settings = study.settings
    if settings.trials is None and request.timeout is None and not study.is_led():
        raise InputError(f"study {study.name!r} is as long as its search runs, and none does: add --timeout")
    device = resolve_device(request.device or "auto")
    _check_machine(settings, device, study.name)
    plan = plan_to_go_on(
        study,
        request.storage,
        notify,
        progress,
        task=request.task,
        trust_task_file=request.trust_task_file,
        settings=replace(
            settings,
            device=request.device or "auto",
            data=_data(request, settings),
            weights_dir=request.weights_dir or settings.weights_dir,
        ),
    )
    share = settings.trials_per_gpu
    workers = default_workers(device, share) if request.workers is None else request.workers
    engine = engine_for(workers)
    placement = Placement(workers, share)
    engine_named(engine, placement).check()
    trials = "" if settings.trials is None else f" of {settings.trials}"
    notify(f"study {study.name}: joined in {shown_storage(request.storage)}, {study.ended}{trials} trials are done")
    if reached := goal_reached(settings, study.best()):
        notify(reached)
    # The time of the study is that of its search; a worker has its own, or ends with the search.
    return Search(study, replace(plan, timeout=request.timeout), engine, placement=placement, notify=notify, joins=True)


def _data(request: WorkerRequest, settings: Settings) -> str:
    """Where the data lies here; its split is trusted where that of the study is."""
    if request.data is None:
        return settings.data
    mark = f"{TRUST_SPLIT}:"
    trusted = settings.data.startswith(mark) and not request.data.startswith(mark)
    return mark + request.data if trusted else request.data


def _check_machine(settings: Settings, device: torch.device, study: str) -> None:
    theirs: Mapping[str, Any] = settings.environment.get("versions", {})
    ours: Mapping[str, Any] = environment(device)["versions"]
    differing = [
        f"{name} {theirs[name]} (here {ours.get(name, 'none')})"
        for name in _PACKAGES
        if name in theirs and _plain(theirs[name]) != _plain(ours.get(name, ""))
    ]
    if differing:
        raise InputError(f"study {study!r} was begun with {', '.join(differing)}: install the same here")
    begun = "cpu" if is_processor(settings.common["device"]) else "cuda"
    if begun != device.type:
        raise InputError(f"study {study!r} was begun on {begun}, and this is {device.type}: its values would differ")


def _plain(version: object) -> str:
    """Without what says how the package was built."""
    return str(version).partition("+")[0]
