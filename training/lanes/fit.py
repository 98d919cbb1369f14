"""The training loop as its callers see it: one config, or several of one structure, trained once each."""

from __future__ import annotations

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
from ..machine.interrupts import SaveClock, uninterrupted
from ..models.backbones import Backbone
from ..models.numerics import Numerics
from ..models.spec import resolve
from ..models.weights import load_backbone
from .checkpoint import (
    TRAINED_ON,
    CheckpointRecord,
    check_checkpoint_folder,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from .group import LaneGroup
from .lane_state import LaneState
from .results import EpochResult, FitResult, State, curve_from_json, curve_to_json

CPU = torch.device("cpu")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_KEY = 0


def fit(
    task: Task,
    config: Config,
    splits: Splits,
    *,
    epochs: int,
    seed: int = 0,
    start: int = 1,
    device: torch.device = CPU,
    numerics: Numerics | None = None,
    backbones: Callable[[str], Backbone] = load_backbone,
    prefixes: Prefixes | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    checkpoint_to: Path | None = None,
    resume_from: Path | None = None,
) -> FitResult:
    """Trains `config` on `splits.train` for `epochs` and scores it on `splits.valid` after each.

    One seed gives one result on a CPU, whether the run was interrupted and resumed or not.

    Args:
        splits: at the config's resolution.
        start: the tick of the first epoch. With the seed it decides the order of the data and the views that are seen:
            a trial that joined a group of lanes late is trained again by naming the tick at which it did.
        backbones: how a backbone is got by its name; by default with pretrained weights that are at hand.
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

    Returns:
        A result in every case that lies in the config: running out of memory and a loss that is not finite are
        `infeasible`, with the reason.

    Raises:
        InputError: the config is outside the task's space, weights are absent, the checkpoint does not fit, or the
            folder of the checkpoint holds files of others that are in the way.
    """
    config = task.space.validate(config)
    started, before = time.perf_counter(), 0.0
    saved = None if resume_from is None else load_checkpoint(resume_from)
    if checkpoint_to is not None:
        check_checkpoint_folder(checkpoint_to)
    if prefixes is None:
        prefixes = Prefixes(backbones=backbones, numerics=numerics, device=device)
    prefixes = prefixes.fitted_to(splits)
    spec = resolve(task, config)
    backbone = prefixes.backbone(spec.backbone.name)
    about: dict[str, Any] = {
        "task": task.name,
        "config": config,
        "classes": splits.classes,
        "seed": seed,
        "epochs": epochs,
        "weights": f"{backbone.origin} ({backbone.weights_digest})",
        "fingerprint": splits.fingerprint,
        "start": start,
    }
    resume = None
    if saved is not None:
        for name, value in about.items():
            if getattr(saved.record, name) != value:
                raise InputError(
                    f"the checkpoint in {resume_from} has another {name} ({getattr(saved.record, name)}, not {value}): "
                    "resume with the same settings, or start in a new folder"
                )
        if saved.record.numerics != prefixes.numerics:
            prefixes = prefixes.with_numerics(saved.record.numerics)
        resume = LaneState(saved.tensors, curve_from_json(saved.record.curve), None, 0.0)
        before = sum(epoch.seconds for epoch in resume.curve)
    done = len(resume.curve) if resume else 0
    structure = spec.structure(len(backbone.stages))
    group = LaneGroup(
        task,
        splits,
        structure,
        epochs=epochs,
        seed=seed,
        prefixes=prefixes,
        tick=start - 1 + done,
        rewindable=checkpoint_to is not None,
    )
    state, reason = State.COMPLETE, ""
    saves, on_disk = SaveClock(), done

    def save() -> None:
        """The state after the last whole epoch, unless the checkpoint holds it already."""
        nonlocal on_disk
        if checkpoint_to is not None and group.lanes and len(group.lanes[0].curve) > on_disk:
            with saves.saving():
                record = _record(group, about, prefixes, splits)
                save_checkpoint(checkpoint_to, record, _tensors(group, splits))
                on_disk = record.epoch

    try:
        group.add(_KEY, config, seed=seed, resume=resume)
        if resume is not None and on_epoch is not None:
            # A kill may have come after this epoch was saved and before anybody judged it.
            on_epoch(resume.curve[-1])
        for epoch in range(done + 1, epochs + 1):

            def count(batch: int, batches: int, behind: int = epoch - 1) -> None:
                if on_batch is not None:
                    on_batch(behind * batches + batch, epochs * batches)

            result = group.train_epoch(count)[_KEY]
            if not math.isfinite(result.loss):
                state, reason = State.INFEASIBLE, diverged(result)
                break
            # The first one at once: that the folder can't be written is better known early.
            if saves.due() or epoch in (done + 1, epochs):
                save()
            if on_epoch is not None:
                on_epoch(result)
    except Stop as stop:
        state, reason = State.PRUNED, str(stop)
        save()
    except BaseException as problem:
        with uninterrupted():
            group.rewind()
            save()
        if not (isinstance(problem, RuntimeError) and is_out_of_memory(problem)):
            raise
        state, reason = State.INFEASIBLE, f"out of memory with batches of {structure.batch_size}"
        free_memory(device)
    return dataclasses.replace(
        group.result(_KEY, state, reason),
        seconds=before + time.perf_counter() - started,
        checkpoint=checkpoint_to if checkpoint_to is not None and has_checkpoint(checkpoint_to) else None,
    )


def fit_lanes(
    task: Task,
    configs: Sequence[Config],
    splits: Splits,
    *,
    epochs: int,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    device: torch.device = CPU,
    numerics: Numerics | None = None,
    backbones: Callable[[str], Backbone] = load_backbone,
    prefixes: Prefixes | None = None,
) -> list[FitResult]:
    """Trains configs of one structure together, each as `fit` would; `seconds` are each one's share.

    Args:
        seed: decides the order of the data, and everything else of a lane that `seeds` gives no other.

    Raises:
        InputError: a config is outside the task's space, or they are of different structures.
    """
    if not configs:
        return []
    if prefixes is None:
        prefixes = Prefixes(backbones=backbones, numerics=numerics, device=device)
    first = resolve(task, configs[0])
    structure = first.structure(len(prefixes.backbone(first.backbone.name).stages))
    group = LaneGroup(task, splits, structure, epochs=epochs, seed=seed, prefixes=prefixes)
    for key, config in enumerate(configs):
        group.add(key, config, seed=seed if seeds is None else seeds[key])
    results: dict[int, FitResult] = {}
    while len(group):
        try:
            outcomes = group.train_epoch()
        except RuntimeError as problem:
            if not is_out_of_memory(problem):
                raise
            reason = f"out of memory with {len(group)} lanes and batches of {group.structure.batch_size}"
            free_memory(device)
            results |= {lane.key: group.result(lane.key, State.INFEASIBLE, reason) for lane in group.lanes}
            break
        ended = {key: outcome for key, outcome in outcomes.items() if outcome.epoch == epochs}
        broken = {key: outcome for key, outcome in outcomes.items() if not math.isfinite(outcome.loss)}
        for key, outcome in (ended | broken).items():
            finite = math.isfinite(outcome.loss)
            state, reason = (State.COMPLETE, "") if finite else (State.INFEASIBLE, diverged(outcome))
            results[key] = group.result(key, state, reason)
        group.drop([*(ended | broken)])
    return [results[key] for key in range(len(configs))]


def diverged(result: EpochResult) -> str:
    return f"diverged: the loss is not finite in epoch {result.epoch}"


def is_out_of_memory(problem: RuntimeError) -> bool:
    return any(phrase in str(problem).lower() for phrase in _OUT_OF_MEMORY)


def free_memory(device: torch.device) -> None:
    """Gives the device's memory back after it ran out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _tensors(group: LaneGroup, splits: Splits) -> dict[str, torch.Tensor]:
    """The whole model, what the lane trains, and which examples it was trained on."""
    whole = {f"model.{name}": t.detach().cpu().contiguous() for name, t in group.model(_KEY).state_dict().items()}
    if splits.train.identities is not None:
        whole[TRAINED_ON] = splits.train.identities.sort().values
    return whole | {name: t.contiguous() for name, t in group.state(_KEY).tensors.items()}


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
        value=result.value,
        ci95=result.estimate.ci95 if result.estimate else None,
        n=result.n,
        groups_ci95=grouped.ci95 if grouped else None,
        n_groups=grouped.n if grouped else 0,
    )
