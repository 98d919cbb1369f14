"""How far should stages that were fine-tuned stay from where they began? (docs/decisions/0032)

    python -m bench.fine_tune_kept --data DIR --elsewhere DIR --weights-dir DIR [--tasks fruit,...] [--seeds 0,...]

Trains the configs of the shipped portfolio that unfreeze stages, and scores each model at several points of the line
between what it was before its stages trained and what it was after: on `valid`, on the changed validation photos
(`robust`), on a fifth of `train` that was held back, and, of fruit, on the photos by others in `--elsewhere`, which
nothing is trained on and nothing is chosen by. What `--out` has already is not trained again.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch
from tabulate import tabulate

from search_spaces import InputError, task_named
from studies.portfolio import shipped_portfolio
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
from training.models.spec import FINE_TUNE_KEPT, UNFROZEN

from .answers import figures_before
from .anytime.held_back import hold_back

Row = Mapping[str, Any]

TASKS = ("fruit", "clothing", "cats_dogs", "flowers")
KEPT = (0.0, 0.25, 0.5, 0.75, 1.0)
EPOCHS = 8
FAR = "fruit"
"""The task of which there are photos by others."""
CONFIGS = [shipped.config for shipped in shipped_portfolio().configs if shipped.config.get(UNFROZEN)]
OUT = Path("results/fine_tune_kept")
_CPU = torch.device("cpu")
_KEY = 0
_SCORES = ("valid", "robust", "held back", "elsewhere")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fine_tune_kept", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds one of photos for each task")
    parser.add_argument("--elsewhere", type=Path, required=True, help="photos of fruit by others, without splits")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(TASKS), metavar="NAME,...")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="README.md and runs.json")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as links:
            figures = measured(options, shlex.join(sys.argv[1:] if argv is None else argv), Path(links))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    text = markdown(figures)
    atomic_write_bytes(options.out / "README.md", text.encode())
    sys.stdout.write(text)
    return 0


def measured(options: argparse.Namespace, arguments: str, links: Path) -> dict[str, Any]:
    """All figures, also written to `runs.json` after each run, so that a later one goes on from there.

    `links` is an empty folder for links to the photos.
    """
    path = options.out / "runs.json"
    numerics = measure_numerics(_CPU).numerics
    settings = {"epochs": options.epochs, "configs": short_digest([CONFIGS]), "numerics": str(numerics)}
    kept = figures_before(path, settings)
    figures: dict[str, Any] = {
        "settings": settings,
        "command": f"python -m bench.fine_tune_kept {arguments}",
        # Of the first run, which the others went on from.
        "environment": kept.get("environment", environment(_CPU)),
        "fingerprints": kept.get("fingerprints", {}),
        "rows": kept.get("rows", []),
    }
    store = PrefixStore()
    for name in options.tasks:
        task = task_named(name)
        data = open_data(hold_back(options.data / name, links / name).whole, task)
        figures["fingerprints"][name] = data.fingerprint
        for (number, config), seed in itertools.product(enumerate(CONFIGS), options.seeds):
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
            group.add(_KEY, config)
            further = {"held back": splits.test}
            if name == FAR:
                opened = open_labelled(options.elsewhere, data.classes, Kind.of(task), None, spec.input.resolution)
                further["elsewhere"] = opened.examples
            figures["rows"] += [about | row for row in trained(group, further)]
            write_versioned_json(path, figures)
            sys.stderr.write(f"{name}, config {number}, seed {seed}: {time.monotonic() - began:.0f} s\n")
    write_versioned_json(path, figures)
    return figures


def trained(group: LaneGroup, further: dict[str, Split | None]) -> list[dict[str, Any]]:
    """The lane of `group`, trained and scored at each point of `KEPT`. Shares are in 0..1."""
    cut, stages = group.structure.cut, group.stages
    before: list[dict[str, torch.Tensor]] = []
    for _ in range(group.epochs):
        if group.cut_of(_KEY) != stages and not before:
            before = _parameters(group, cut)
        group.train_epoch()
    # It stands at a known point of the line, so the end of the line is known.
    drawn_back = _parameters(group, cut)
    after = [
        {name: begun[name] + (tensor - begun[name]) / FINE_TUNE_KEPT for name, tensor in one.items()}
        for begun, one in zip(before, drawn_back, strict=True)
    ]
    splits = {"valid": group.splits.valid} | {name: split for name, split in further.items() if split is not None}
    rows = []
    for kept in KEPT:
        with torch.no_grad():
            for module, begun, end in zip(_modules(group, cut), before, after, strict=True):
                for name, tensor in module.state_dict().items():
                    if name in end:
                        tensor.copy_(torch.lerp(begun[name], end[name], kept))
        scores = {name: group.predict([_KEY], split)[_KEY] for name, split in splits.items()}
        right = {name: (said == splits[name].labels).double().mean().item() for name, said in scores.items()}
        counts = {name: len(split) for name, split in splits.items()}
        robust = score_shifted(group, [_KEY])[_KEY].value
        rows.append({"kept": kept, "n": counts, "shares": right | {"robust": robust}})
    return rows


def markdown(figures: Mapping[str, Any]) -> str:
    """A table a task, under what they depend on."""
    rows, machine = figures["rows"], figures["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        "# How far fine-tuned stages should stay from where they began\n",
        f"Configs of the portfolio that train stages, {figures['settings']['epochs']} epochs. Each model was scored at "
        "several points of the line between what it was before its stages trained, 0, and what it was after, 1. In per "
        "cent: means over the runs. The fifth of `train` that was held back was not trained on, and photos elsewhere "
        f"are by other people; nothing is chosen by either. pomona keeps {FINE_TUNE_KEPT} "
        "(docs/decisions/0032).\n",
        f"- command: `{figures['command']}`\n"
        f"- data: {', '.join(f'{name} {digest}' for name, digest in figures['fingerprints'].items())}\n"
        f"- machine: {machine['device']}, {figures['settings']['numerics']}; commit {machine['commit'] or 'none'}\n"
        f"- versions: python {machine['python']}, {versions}\n",
    ]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for name in tasks:
        parts += [f"## {name}\n", _table([row for row in rows if row["task"] == name])]
    if len(tasks) > 1:
        parts += ["## All tasks, each counting once\n", _over_tasks(rows, tasks)]
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    scores = [score for score in _SCORES if score in rows[0]["shares"]]
    counts = rows[0]["n"]
    headings = [f"{score}, n {counts[score]}" if score in counts else score for score in scores]
    runs = len({(row["config"], row["seed"]) for row in rows})
    cells = [[kept, runs, *(f"{100 * _mean(rows, kept, score):.2f}" for score in scores)] for kept in KEPT]
    return tabulate(cells, ["kept", "runs", *headings], tablefmt="github", disable_numparse=True) + "\n"


def _over_tasks(rows: Sequence[Row], tasks: Sequence[str]) -> str:
    cells: list[list[object]] = []
    for kept in KEPT:
        of_tasks = [[row for row in rows if row["task"] == name] for name in tasks]
        means = [statistics.fmean(_mean(of, kept, score) for of in of_tasks) for score in _SCORES[:3]]
        cells.append([kept, *(f"{100 * mean:.2f}" for mean in means)])
    return tabulate(cells, ["kept", *_SCORES[:3]], tablefmt="github", disable_numparse=True) + "\n"


def _mean(rows: Sequence[Row], kept: float, score: str) -> float:
    return statistics.fmean(row["shares"][score] for row in rows if row["kept"] == kept)


def _modules(group: LaneGroup, cut: int) -> list[torch.nn.Module]:
    model = group.model(_KEY)
    return [*model.stages[cut:], model.head]


def _parameters(group: LaneGroup, cut: int) -> list[dict[str, torch.Tensor]]:
    """Copies of what is drawn back."""
    states = [module.state_dict() for module in _modules(group, cut)]
    return [{name: t.clone() for name, t in state.items() if t.is_floating_point()} for state in states]


if __name__ == "__main__":
    raise SystemExit(main())
