"""Does the figure on changed validation photos tell how a model fares on other people's photos?

    python -m bench.robustness --data DIR --elsewhere DIR --weights-dir DIR --out FOLDER

Trains heads on frozen features, and some backbones with unfrozen stages, on the train split of `--data`. Each is scored
on the validation photos (`valid`), on their changed forms (`robust`) and on the photos in `--elsewhere`, which nothing
is trained on and nothing is chosen by. What `--out` has already is not trained again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch

from search_spaces import Config, InputError, Task, task_named
from search_spaces.benchmarks import robustness_configs
from training import (
    LaneGroup,
    Prefixes,
    PrefixStore,
    Split,
    Splits,
    State,
    Structure,
    atomic_write_bytes,
    environment,
    load_backbone,
    measure_numerics,
    open_data,
    resolve,
    write_versioned_json,
)
from training.data import Kind, open_labelled
from training.data.shifts import REVISION
from training.data.splits import short_digest
from training.lanes.robustness import score_shifted

from .answers import figures_before
from .robustness_report import markdown

TASK = "fruit"
BACKBONES = ("squeezenet1_1", "mobilenet_v2", "timm:tf_efficientnet_lite0")
RESOLUTIONS = (128, 224)
_SEED = 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.robustness", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="what is trained on: photos of the fruit task")
    parser.add_argument("--elsewhere", required=True, help="photos of the same classes by others, without splits")
    parser.add_argument(
        "--web",
        type=lambda text: text.split(","),
        default=["sp", "wt"],
        metavar="NAME,...",
        help="sources of --elsewhere, by what stands before the _ of a file's name, that are pictures from the web; "
        "others are photos from a camera",
    )
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--backbones", type=lambda text: text.split(","), default=list(BACKBONES), metavar="NAME,...")
    parser.add_argument(
        "--resolutions", type=lambda text: [int(part) for part in text.split(",")], default=list(RESOLUTIONS)
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seconds", type=float, help="begin nothing after so many; what is missing is told")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="robustness.md and robustness.json")
    options = parser.parse_args(argv)
    try:
        figures = measured(options, shlex.join(sys.argv[1:] if argv is None else argv))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    text = markdown(figures)
    atomic_write_bytes(options.out / "robustness.md", text.encode())
    sys.stdout.write(text)
    return 0


def measured(options: argparse.Namespace, arguments: str) -> dict[str, Any]:
    """All figures, also written to `robustness.json` after each structure, so that a later run goes on from there."""
    device, task, started = torch.device("cpu"), task_named(TASK), time.monotonic()
    data = open_data(options.data, task)
    labelled = functools.cache(
        lambda resolution: open_labelled(options.elsewhere, data.classes, Kind.of(task), None, resolution).examples
    )
    elsewhere = labelled(min(options.resolutions))
    settings = {
        "fingerprint": data.fingerprint,
        "elsewhere": short_digest([*sorted(elsewhere.keys)]),
        "epochs": options.epochs,
        "seed": _SEED,
        "shifts": REVISION,
    }
    figures: dict[str, Any] = {
        "settings": settings,
        "command": f"python -m bench.robustness {arguments}",
        "data": data.source,
        "n": len(data.at(min(options.resolutions)).valid),
        "elsewhere": _counts(elsewhere),
        "web": options.web,
        "environment": environment(device),
    }
    configs = [
        task.space.validate(task.space.activate(config))
        for config in robustness_configs(options.backbones, options.resolutions)
    ]
    kept = figures_before(options.out / "robustness.json", settings).get("rows", [])
    figures["rows"] = [row for row in kept if row["config"] in configs]
    missing = [config for config in configs if config not in [row["config"] for row in figures["rows"]]]
    numerics = measure_numerics(device).numerics
    store = PrefixStore()
    for of_input in _parts(task, missing):
        prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=options.weights_dir),
            numerics=numerics,
            device=device,
            store=store,
            unfrozen=max(resolve(task, config).backbone.unfrozen for config in of_input),
        )
        for structure, lanes in _structures(task, of_input, prefixes).items():
            if options.seconds is not None and time.monotonic() - started > options.seconds:
                break
            splits = data.at(structure.resolution)
            began = time.monotonic()
            figures["rows"] += trained(
                task, splits, structure, lanes, labelled(structure.resolution), options.epochs, prefixes
            )
            write_versioned_json(options.out / "robustness.json", figures)
            sys.stderr.write(f"{structure}: {len(lanes)} configs, {time.monotonic() - began:.0f} s\n")
    figures["missing"] = len(configs) - len(figures["rows"])
    write_versioned_json(options.out / "robustness.json", figures)
    return figures


def trained(
    task: Task,
    splits: Splits,
    structure: Structure,
    configs: Sequence[Config],
    elsewhere: Split,
    epochs: int,
    prefixes: Prefixes,
) -> list[dict[str, Any]]:
    """Configs of one structure, trained side by side and scored on everything. Shares are in 0..1.

    `elsewhere` in a row is the number of right answers of each source.
    """
    group = LaneGroup(task, splits, structure, epochs=epochs, seed=_SEED, prefixes=prefixes)
    for key, config in enumerate(configs):
        group.add(key, config)
    for _ in range(epochs):
        group.train_epoch()
    keys = range(len(configs))
    robust = score_shifted(group, keys)
    said = group.predict(keys, elsewhere)
    rows = []
    for key, config in enumerate(configs):
        result = group.result(key, State.COMPLETE)
        right = (said[key] == elsewhere.labels).tolist()
        by_source = dict.fromkeys(_counts(elsewhere), 0)
        for name, is_right in zip(elsewhere.names, right, strict=True):
            by_source[_source(name)] += is_right
        rows.append(
            {
                "config": config,
                "valid": result.value,
                "groups_ci95": result.grouped and list(result.grouped.ci95),
                "group_value": result.grouped and result.grouped.value,
                "robust": robust[key].value,
                "elsewhere": by_source,
            }
        )
    return rows


def _parts(task: Task, configs: Iterable[Config]) -> list[list[Config]]:
    """The configs by what they see, in their order: they share what stages give for it."""
    parts: dict[object, list[Config]] = {}
    for config in configs:
        spec = resolve(task, config)
        parts.setdefault((spec.backbone.name, spec.input.resolution), []).append(config)
    return list(parts.values())


def _structures(task: Task, configs: Iterable[Config], prefixes: Prefixes) -> dict[Structure, list[Config]]:
    found: dict[Structure, list[Config]] = {}
    for config in configs:
        spec = resolve(task, config)
        stages = len(prefixes.backbone(spec.backbone.name).stages)
        found.setdefault(spec.structure(stages), []).append(config)
    return found


def _source(name: str) -> str:
    return PurePosixPath(name).name.partition("_")[0]


def _counts(elsewhere: Split) -> dict[str, int]:
    sources = sorted(map(_source, elsewhere.names))
    return {source: len(list(group)) for source, group in itertools.groupby(sources)}


if __name__ == "__main__":
    raise SystemExit(main())
