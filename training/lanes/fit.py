"""The training loop as its callers see it: one config, or several of one structure, trained once each."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from search_spaces import Config, InputError, Task

from ..data.splits import Splits
from ..frozen.prefixes import Prefixes
from ..machine.environment import environment
from ..machine.errors import Stop
from ..machine.interrupts import uninterrupted
from ..models.backbones import Backbone
from ..models.numerics import Numerics
from ..models.spec import resolve
from ..models.weights import load_backbone
from .checkpoint import (
    TRAINED_ON,
    Checkpoint,
    CheckpointRecord,
    check_checkpoint_folder,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from .group import LaneGroup
from .group_folder import Saves
from .jobs import Ended, Epoch, Event, Job, Member, Verdict, Working
from .lane_state import LaneState
from .results import EpochResult, FitResult, State, curve_from_json, curve_to_json, interrupted_after
from .runner import Events, GroupRunner

CPU = torch.device("cpu")
_KEY = 0


def fit(
    task: Task,
    config: Config,
    splits: Splits,
    *,
    epochs: int,
    seed: int = 0,
    device: torch.device = CPU,
    numerics: Numerics | None = None,
    backbones: Callable[[str], Backbone] = load_backbone,
    prefixes: Prefixes | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    checkpoint_to: Path | None = None,
    resume_from: Path | None = None,
    start: LaneState | None = None,
) -> FitResult:
    """Trains `config` on `splits.train` for `epochs` and scores it on `splits.valid` after each.

    One seed gives one result on a CPU, whether the run was interrupted and resumed or not.

    Args:
        splits: at the config's resolution.
        backbones: how a backbone is got by its name; by default with pretrained weights that are available locally.
        prefixes: a worker's shared prefixes; `device`, `numerics` and `backbones` are theirs then. Without them nothing
            is shared, and the results are the same to rounding.
        on_epoch: called after each epoch, and once with the last epoch of a checkpoint that is resumed; it may raise
            `Stop`, which makes the result `pruned`.
        on_batch: called after each training batch with (epochs done and the part of this one, in batches; batches of
            the whole run); what it or the prefixes' `check_stop` raises passes through, and the checkpoint is that of
            the last whole epoch.
        checkpoint_to: a folder for the state after a whole epoch: the first, one every few seconds, and the last one
            when the run ends or is left. A process that is killed loses what it did since.
        resume_from: such a folder; it must be of the same config, seed, epochs and data.
        start: a lane of the same config, seed, epochs and data after a whole epoch, but not after the last one, to go
            on from where there is no `resume_from`; what a search saved of a trial is one.

    Returns:
        A result in every case that lies in the config: running out of memory and a loss that is not finite are
        `infeasible`, with the reason.

    Raises:
        InputError: the config is outside the task's space, weights are absent, the checkpoint does not fit, or the
            folder of the checkpoint holds files of others that are in the way.
    """
    config = task.space.validate(config)
    started = time.perf_counter()
    saved = None if resume_from is None else load_checkpoint(resume_from)
    if checkpoint_to is not None:
        check_checkpoint_folder(checkpoint_to)
    if prefixes is None:
        prefixes = Prefixes(backbones=backbones, numerics=numerics, device=device)
    prefixes = prefixes.fitted_to(splits)
    backbone = prefixes.backbone(resolve(task, config).backbone.name)
    about = _about(task, config, splits, backbone, seed=seed, epochs=epochs)
    resume = start
    if saved is not None:
        _check_same_run(saved, about)
        if saved.record.numerics != prefixes.numerics:
            prefixes = prefixes.with_numerics(saved.record.numerics)
        resume = LaneState(saved.tensors, curve_from_json(saved.record.curve), None, 0.0)
    before = 0.0 if resume is None else sum(epoch.seconds for epoch in resume.curve)
    saves = None
    if checkpoint_to is not None or resume is not None:
        on_disk = 0 if saved is None else saved.record.epoch
        saves = _CheckpointSaves(checkpoint_to, resume, about, prefixes, splits, on_disk)

    def count(working: Working) -> None:
        if on_batch is not None:
            on_batch(working.epoch * working.batches + working.batch, epochs * working.batches)

    runner = GroupRunner(
        task,
        Job((Member(_KEY, config),), seed, epochs),
        lambda _resolution: splits,
        prefixes,
        saves=saves,
        on_batch=count,
        passes_on=True,
    )
    return dataclasses.replace(
        _result_of(runner, saves, on_epoch),
        seconds=before + time.perf_counter() - started,
        checkpoint=checkpoint_to if checkpoint_to is not None and has_checkpoint(checkpoint_to) else None,
    )


def keep_state(
    task: Task,
    config: Config,
    splits: Splits,
    state: LaneState,
    *,
    epochs: int,
    seed: int,
    prefixes: Prefixes,
    checkpoint_to: Path,
) -> FitResult:
    """Writes the checkpoint of a lane as it is after its last whole epoch; nothing is trained.

    Args:
        state: of this config, seed, number of epochs and data.

    Returns:
        How the lane stands: `complete` after the last epoch, otherwise `pruned`, with how far it came as the reason.

    Raises:
        InputError: the config is outside the task's space, weights are absent, or `checkpoint_to` holds files of others
            that are in the way.
    """
    config = task.space.validate(config)
    check_checkpoint_folder(checkpoint_to)
    prefixes = prefixes.fitted_to(splits)
    spec = resolve(task, config)
    backbone = prefixes.backbone(spec.backbone.name)
    structure, done = spec.structure(len(backbone.stages)), len(state.curve)
    group = LaneGroup(task, splits, structure, epochs=epochs, seed=seed, prefixes=prefixes, epoch=done)
    group.add(_KEY, config, resume=state)
    about = _about(task, config, splits, backbone, seed=seed, epochs=epochs)
    with uninterrupted():
        _CheckpointSaves(checkpoint_to, state, about, prefixes, splits, on_disk=0).save(group)
    if done == epochs:
        result = group.result(_KEY, State.COMPLETE)
    else:
        result = group.result(_KEY, State.PRUNED, interrupted_after(done, epochs))
    return dataclasses.replace(result, checkpoint=checkpoint_to)


def _about(task: Task, config: Config, splits: Splits, backbone: Backbone, *, seed: int, epochs: int) -> dict[str, Any]:
    """What a checkpoint says of its run, and what has to be the same where one goes on."""
    return {
        "task": task.name,
        "config": config,
        "classes": splits.classes,
        "seed": seed,
        "epochs": epochs,
        "weights": f"{backbone.origin} ({backbone.weights_digest})",
        "fingerprint": splits.fingerprint,
    }


def _result_of(
    runner: GroupRunner, saves: _CheckpointSaves | None, on_epoch: Callable[[EpochResult], None] | None
) -> FitResult:
    """Runs to the end, which `on_epoch` may bring about earlier."""
    result: FitResult | None = None
    verdict: Verdict | None = None
    # Closed in any case, so that what was done is saved.
    with contextlib.closing(runner.run()) as events:
        while (event := _next(events, verdict)) is not None:
            verdict = None
            if isinstance(event, Ended):
                result = event.results[_KEY]
            elif isinstance(event, Epoch):
                result = event.ended.get(_KEY)
                if on_epoch is not None and (result is None or result.state == State.COMPLETE):
                    try:
                        on_epoch(event.results[_KEY])
                    except Stop as stop:
                        verdict = Verdict({_KEY: (State.PRUNED, str(stop))})
                        if saves is not None:
                            saves.save_again()
    assert result is not None
    return result


def _next(events: Events, verdict: Verdict | None) -> Event | None:
    """The next event; None after the last one."""
    try:
        return events.send(verdict)
    except StopIteration:
        return None


def _check_same_run(saved: Checkpoint, about: dict[str, Any]) -> None:
    """Raises InputError where a checkpoint is of another run."""
    for name, value in about.items():
        if getattr(saved.record, name) != value:
            raise InputError(
                f"the checkpoint in {saved.folder} has another {name} ({getattr(saved.record, name)}, not {value}): "
                "resume with the same settings, or start in a new folder"
            )


def fit_lanes(
    task: Task,
    configs: Sequence[Config],
    splits: Splits,
    *,
    epochs: int,
    seed: int = 0,
    device: torch.device = CPU,
    numerics: Numerics | None = None,
    backbones: Callable[[str], Backbone] = load_backbone,
    prefixes: Prefixes | None = None,
) -> list[FitResult]:
    """Trains configs of one structure together, each as `fit` would; `seconds` are each one's share.

    Where memory does not suffice for all, they are trained in halves, and halves of these.

    Raises:
        InputError: a config is outside the task's space, or they are of different structures.
    """
    if not configs:
        return []
    if prefixes is None:
        prefixes = Prefixes(backbones=backbones, numerics=numerics, device=device)
    job = Job(tuple(Member(key, config) for key, config in enumerate(configs)), seed, epochs)
    results: dict[int, FitResult] = {}
    for event in GroupRunner(task, job, lambda _resolution: splits, prefixes, passes_on=True).run():
        if isinstance(event, Epoch):
            results |= event.ended
        elif isinstance(event, Ended):
            results |= event.results
    return [results[key] for key in range(len(configs))]


class _CheckpointSaves:
    """A run of `fit` on disk: its checkpoint, which is written after the first epoch, now and then, and at the end."""

    def __init__(
        self,
        folder: Path | None,
        resume: LaneState | None,
        about: dict[str, Any],
        prefixes: Prefixes,
        splits: Splits,
        on_disk: int,
    ) -> None:
        """`on_disk` epochs are in `folder` already; `resume` may come from elsewhere."""
        self._folder = folder
        self._resume = resume
        self._about = about
        self._prefixes = prefixes
        self._splits = splits
        self._first = 0 if resume is None else len(resume.curve)
        self._on_disk = on_disk
        self._group: LaneGroup | None = None

    def save_again(self) -> None:
        """Saves the epoch that was just done, unless that was done already."""
        if self._group is not None:
            with uninterrupted():
                self.save(self._group)

    def wanted(self, group: LaneGroup) -> bool:
        self._group = group
        # The first one at once: that the folder can't be written is better known early.
        return group.epoch in (self._first + 1, group.epochs)

    def save(self, group: LaneGroup, *, leaving: bool = False) -> bool:
        curve = group.lanes[0].curve
        if self._folder is None or len(curve) <= self._on_disk or not math.isfinite(curve[-1].loss):
            return False
        record = _record(group, self._about, self._prefixes, self._splits)
        save_checkpoint(self._folder, record, _tensors(group, self._splits))
        self._on_disk = record.epoch
        return True

    def load(self, _members: Sequence[Member]) -> tuple[int, dict[int, LaneState]]:
        return (0, {}) if self._resume is None else (len(self._resume.curve), {_KEY: self._resume})

    def part(self, key: int) -> Saves:
        raise NotImplementedError("a run alone is never divided")


def _tensors(group: LaneGroup, splits: Splits) -> dict[str, torch.Tensor]:
    """The whole model, what the lane trains, and which examples it was trained on."""
    whole = {f"model.{name}": t.detach().cpu().contiguous() for name, t in group.model(_KEY).state_dict().items()}
    if splits.train.identities is not None:
        whole[TRAINED_ON] = splits.train.identities.sort().values
    return whole | {name: t.contiguous() for name, t in group.state(_KEY).tensors.items()}


def _enlarged_from(splits: Splits, resolution: int) -> int:
    """The side of the split's images where it is less than the `resolution` of the model; 0 where it is not."""
    shape = splits.train.inputs.shape
    return shape[1] if len(shape) == 4 and shape[1] < resolution else 0


def _record(group: LaneGroup, about: dict[str, Any], prefixes: Prefixes, splits: Splits) -> CheckpointRecord:
    result = group.result(_KEY, State.COMPLETE)
    grouped = result.grouped
    return CheckpointRecord(
        **about,
        resolution=group.structure.resolution,
        epoch=len(result.curve),
        curve=curve_to_json(result.curve),
        numerics=prefixes.numerics,
        source=splits.source,
        data=splits.location,
        environment=environment(prefixes.device),
        modality=group.task.modality,
        columns=group.task.columns,
        metric=group.task.metric,
        offset=splits.offset,
        side=_enlarged_from(splits, group.structure.resolution),
        value=result.value,
        ci95=result.estimate.ci95 if result.estimate else None,
        n=result.n,
        groups_ci95=grouped.ci95 if grouped else None,
        n_groups=grouped.n if grouped else 0,
    )
