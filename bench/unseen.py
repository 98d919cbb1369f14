"""Configs that are trained on a task's photos and scored on photos that nobody chooses by: what benchmarks of single
choices have in common.

Each model is scored on `valid`, on the changed validation photos (`robust`), on a fifth of `train` that was held back,
and, where there are some, on photos by others (`elsewhere_of`).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from search_spaces import Config, InputError, task_named
from training import (
    LaneGroup,
    Prefixes,
    PrefixStore,
    Split,
    atomic_write_bytes,
    environment,
    load_backbone,
    measure_numerics,
    open_data,
    resolve,
    write_versioned_json,
)
from training.data import Kind, open_labelled
from training.data.splits import short_digest
from training.lanes.robustness import score_shifted

from .answers import figures_before
from .anytime.held_back import hold_back
from .elsewhere import TAKEN_ELSEWHERE, elsewhere_of

Row = Mapping[str, Any]
"""Of one run: its `task`, `config` and `seed`, and what `scored` gives, with what the benchmark adds."""
Scorer = Callable[[LaneGroup, Config, dict[str, Split]], list[dict[str, Any]]]
"""Trains the one lane of a group and gives its rows; the splits are those to be scored on beside `robust`."""

TASKS = ("fruit", "clothing", "cats_dogs", "flowers")
EPOCHS = 8
KEY = 0
"""Of the lane."""
_SCORES = ("valid", "robust", "held back", "elsewhere")
_CPU = torch.device("cpu")


def run(
    program: str,
    description: str | None,
    configs: Sequence[Config],
    scorer: Scorer,
    page: Callable[[Mapping[str, Any]], str],
    argv: Sequence[str] | None,
) -> int:
    """The command `python -m bench.PROGRAM`: trains what `--out` does not have already, writes and prints the page.

    Returns the exit code.
    """
    arguments = sys.argv[1:] if argv is None else argv
    options = _options(program, (description or "").splitlines()[0], arguments)
    command = f"python -m bench.{program} {shlex.join(arguments)}"
    try:
        with tempfile.TemporaryDirectory() as links:
            figures = _measured(options, command, configs, scorer, Path(links))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    text = page(figures)
    atomic_write_bytes(options.out / "README.md", text.encode())
    sys.stdout.write(text)
    return 0


def _options(program: str, summary: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m bench.{program}", description=summary)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds one of photos for each task")
    parser.add_argument("--elsewhere", type=Path, required=True, help="photos of fruit by others, without splits")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(TASKS), metavar="NAME,...")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument(
        "--out", type=Path, default=Path("results") / program, metavar="FOLDER", help="README.md and runs.json"
    )
    return parser.parse_args(arguments)


def _measured(
    options: argparse.Namespace, command: str, configs: Sequence[Config], scorer: Scorer, links: Path
) -> dict[str, Any]:
    """All figures, also written to `runs.json` after each run, so that a later one goes on from there.

    `links` is an empty folder for links to the photos.
    """
    path = options.out / "runs.json"
    numerics = measure_numerics(_CPU).numerics
    settings = {
        "epochs": options.epochs,
        "configs": short_digest([list(configs)]),
        "numerics": str(numerics),
        "elsewhere": list(TAKEN_ELSEWHERE),
    }
    kept = figures_before(path, settings)
    figures: dict[str, Any] = {
        "settings": settings,
        "command": command,
        # Of the first run, which the others went on from.
        "environment": kept.get("environment", environment(_CPU)),
        "fingerprints": kept.get("fingerprints", {}),
        "rows": kept.get("rows", []),
    }
    store = PrefixStore()
    for name in options.tasks:
        task = task_named(name)
        data = open_data(hold_back(options.data / name, links / name).whole, task)
        elsewhere = elsewhere_of(name, options.data, options.elsewhere, links / f"{name}-elsewhere")
        figures["fingerprints"][name] = data.fingerprint
        for (number, config), seed in itertools.product(enumerate(configs), options.seeds):
            about = {"task": name, "config": number, "seed": seed}
            if any(about.items() <= row.items() for row in figures["rows"]):
                continue
            began, spec = time.monotonic(), resolve(task, config)
            prefixes = Prefixes(
                backbones=functools.partial(load_backbone, weights_dir=options.weights_dir),
                numerics=numerics,
                device=_CPU,
                store=store,
                unfrozen=spec.backbone.unfrozen,
            )
            splits = data.at(spec.input.resolution)
            structure = spec.structure(len(prefixes.backbone(spec.backbone.name).stages))
            group = LaneGroup(task, splits, structure, epochs=options.epochs, seed=seed, prefixes=prefixes)
            group.add(KEY, config)
            wanted = {"valid": splits.valid, "held back": splits.test}
            if elsewhere is not None:
                opened = open_labelled(str(elsewhere), data.classes, Kind.of(task), None, spec.input.resolution)
                wanted["elsewhere"] = opened.examples
            scored_on = {which: split for which, split in wanted.items() if split is not None}
            figures["rows"] += [about | row for row in scorer(group, config, scored_on)]
            write_versioned_json(path, figures)
            sys.stderr.write(f"{name}, config {number}, seed {seed}: {time.monotonic() - began:.0f} s\n")
    write_versioned_json(path, figures)
    return figures


def scored(group: LaneGroup, splits: Mapping[str, Split]) -> dict[str, Any]:
    """How the lane does now: `n` photos in each of the splits, and the `shares` of them that are right, in 0..1."""
    said = {name: group.predict([KEY], split)[KEY] for name, split in splits.items()}
    shares = {name: (answers == splits[name].labels).double().mean().item() for name, answers in said.items()}
    shares["robust"] = score_shifted(group, [KEY])[KEY].value
    return {"n": {name: len(split) for name, split in splits.items()}, "shares": shares}


def what_they_depend_on(figures: Mapping[str, Any]) -> str:
    """The lines that every page has under its first words."""
    machine = figures["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"- command: `{figures['command']}`\n"
        f"- data: {', '.join(f'{name} {digest}' for name, digest in figures['fingerprints'].items())}\n"
        f"- machine: {machine['device']}, {figures['settings']['numerics']}; commit {machine['commit'] or 'none'}\n"
        f"- versions: python {machine['python']}, {versions}\n"
    )


def table(rows: Sequence[Row], label: str) -> str:
    """Means in per cent over the rows of one task, a line for each value of `label`."""
    scores = [score for score in _SCORES if score in rows[0]["shares"]]
    counts = rows[0]["n"]
    headings = [f"{score}, n {counts[score]}" if score in counts else score for score in scores]
    cells: list[list[object]] = []
    for value in dict.fromkeys(row[label] for row in rows):
        of = [row for row in rows if row[label] == value]
        cells.append([value, len(of), *(f"{100 * mean_share(of, score):.2f}" for score in scores)])
    return tabulate(cells, [label, "runs", *headings], tablefmt="github", disable_numparse=True) + "\n"


def table_over_tasks(rows: Sequence[Row], label: str) -> str:
    """The same over all tasks, each counting once, of what every task has."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    cells: list[list[object]] = []
    for value in dict.fromkeys(row[label] for row in rows):
        of_tasks = [[row for row in rows if row["task"] == name and row[label] == value] for name in tasks]
        means = [statistics.fmean(mean_share(of, score) for of in of_tasks) for score in _SCORES[:3]]
        cells.append([value, *(f"{100 * mean:.2f}" for mean in means)])
    return tabulate(cells, [label, *_SCORES[:3]], tablefmt="github", disable_numparse=True) + "\n"


def mean_share(rows: Sequence[Row], score: str) -> float:
    """The mean over `rows` of a share, in 0..1."""
    return statistics.fmean(row["shares"][score] for row in rows)
