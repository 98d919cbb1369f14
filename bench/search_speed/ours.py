"""Ours: frozen prefixes shared by all trials, and trials of one structure trained as lanes of one computation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from search_spaces import Config, task_named
from search_spaces.benchmarks import DEPTHS

from .job import Job, Train


def prepare(job: Job, *, lanes: bool) -> Train:
    """Opens the data and measures the machine, as a study does; prefixes are computed as trials ask for them."""
    from training import (
        Prefixes,
        PrefixStore,
        fit,
        fit_lanes,
        load_backbone,
        measure_numerics,
        open_data,
        resolve,
        resolve_device,
    )

    task = task_named(job.task)
    device = resolve_device(job.device)
    splits = open_data(job.data, task).at(job.side)
    numerics = measure_numerics(device).numerics
    backbones = functools.partial(load_backbone, weights_dir=job.weights_dir)
    prefixes = Prefixes(backbones=backbones, numerics=numerics, device=device, store=PrefixStore(), unfrozen=DEPTHS[-1])

    def structure(config: Config) -> Hashable:
        spec = resolve(task, config)
        return spec.structure(len(prefixes.backbone(spec.backbone.name).stages))

    common: dict[str, Any] = {"epochs": job.epochs, "seed": job.seed, "prefixes": prefixes}

    def train_group(configs: list[Config]) -> list[float | None]:
        return [result.value for result in fit_lanes(task, configs, splits, **common)]

    def train_alone(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        for position, config in enumerate(configs):
            yield position, fit(task, config, splits, **common).value

    return functools.partial(in_groups, structure, train_group) if lanes else train_alone


def in_groups(
    structure: Callable[[Config], Hashable],
    train_group: Callable[[list[Config]], list[float | None]],
    configs: Sequence[Config],
) -> Iterator[tuple[int, float | None]]:
    """Trains the configs of one structure at a time, structures in the order in which they first occur."""
    groups: dict[Hashable, list[int]] = {}
    for position, config in enumerate(configs):
        groups.setdefault(structure(config), []).append(position)
    for positions in groups.values():
        accuracies = train_group([configs[position] for position in positions])
        yield from zip(positions, accuracies, strict=True)
