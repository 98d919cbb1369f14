"""What do many heads side by side cost, against one?

    python -m bench.lanes --data DIR --weights-dir DIR [--rounds 5] [--out FOLDER]

Heads on the kept features of a frozen MobileNetV2, 10 epochs with a scoring after each, everything counted but the
features. K heads as lanes of one computation, one head alone, and one head as torch's own modules and optimizer train
it take turns.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import nn

from search_spaces import InputError, Task, task_named
from search_spaces.benchmarks import BACKBONE, LINEAR_HEADS, NO_DROPOUT, fixed_values, narrowed
from training import (
    Prefixes,
    PrefixStore,
    Splits,
    atomic_write_bytes,
    environment,
    fit_lanes,
    load_backbone,
    measure_numerics,
    open_data,
    resolve,
    write_versioned_json,
)

from .search_speed.configs import draw

LANES = (1, 8, 32, 128)
EPOCHS = 10
PLAIN = "torch's modules"
HEADS: dict[str, tuple[str, ...]] = {"no dropout": NO_DROPOUT, "rates of their own": ()}


def plain_head(features: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor, rate: float, drop: float) -> None:
    """As one would write it: a linear layer, dropout, cross-entropy, AdamW, batches of 32."""
    model = nn.Sequential(nn.Dropout(drop), nn.Linear(features.shape[1], int(labels.max()) + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    for _ in range(EPOCHS):
        model.train()
        for index in torch.randperm(len(features)).split(32):  # type: ignore[no-untyped-call]
            loss = F.cross_entropy(model(features[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            model(valid).argmax(1)


def cases(
    task: Task, splits: Splits, prefixes: Prefixes, resolution: int
) -> dict[tuple[str, str], Callable[[], object]]:
    """What is timed, by (kind of head, how it is trained)."""
    found: dict[tuple[str, str], Callable[[], object]] = {}
    for kind, fixed in HEADS.items():
        space = narrowed(task.space).fix(fixed_values(task, resolution, [*LINEAR_HEADS, *fixed]))
        none = task.space.parse([*NO_DROPOUT])
        drawn = (draw(space, (0, number)) for number in itertools.count())
        wanted = drawn if fixed else (config for config in drawn if config | none != config)
        heads = list(itertools.islice(wanted, max(LANES)))
        structure = resolve(task, heads[0]).structure(len(prefixes.backbone(BACKBONE).stages))
        ways = (
            prefixes.block(split, structure, structure.cut, strength=0, view=0)
            for split in (splits.train, splits.valid)
        )
        features, valid = ways
        drop = 0.0 if kind == "no dropout" else 0.3
        found[kind, PLAIN] = functools.partial(plain_head, features, splits.train.labels, valid, 1e-3, drop)
        for lanes in LANES:
            found[kind, f"{lanes}"] = functools.partial(
                fit_lanes, task, heads[:lanes], splits, epochs=EPOCHS, prefixes=prefixes
            )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lanes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write lanes.md and lanes.json")
    options = parser.parse_args(argv)
    try:
        text, figures = measured(options)
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(text)
    if options.out is not None:
        atomic_write_bytes(options.out / "lanes.md", text.encode())
        write_versioned_json(options.out / "lanes.json", figures)
    return 0


def measured(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    device = torch.device("cpu")
    task = task_named("fruit")
    data = open_data(options.data, task)
    splits = data.at(options.resolution)
    with tempfile.TemporaryDirectory() as folder:
        prefixes = Prefixes(
            backbones=functools.partial(load_backbone, weights_dir=options.weights_dir),
            numerics=measure_numerics(device).numerics,
            device=device,
            store=PrefixStore(Path(folder)),
        )
        timed = cases(task, splits, prefixes, options.resolution)
        for run in timed.values():
            run()
        seconds: dict[tuple[str, str], list[float]] = {case: [] for case in timed}
        for _ in range(options.rounds):
            for case, run in timed.items():
                started = time.perf_counter()
                run()
                seconds[case].append(time.perf_counter() - started)
    rows = []
    for (kind, how), taken in seconds.items():
        ratios = [mine / one for mine, one in zip(taken, seconds[kind, "1"], strict=True)]
        median, trials = statistics.median(taken), 1 if how == PLAIN else int(how)
        rows.append(
            [
                kind,
                how,
                f"{median:.3f} ({min(taken):.3f} to {max(taken):.3f})",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{1000 * median / trials:.1f}",
            ]
        )
    machine = environment(device)
    command = f"python -m bench.lanes {' '.join(itertools.chain.from_iterable(_given(options)))}"
    text = (
        "# Heads side by side\n\n"
        f"Seconds for {EPOCHS} epochs on the kept features of a frozen {BACKBONE} at {options.resolution} pixels "
        f"({len(splits.train)} photos, scored on {len(splits.valid)} after each epoch), linear heads, AdamW, batches "
        "of 32: median and range over the rounds. Rates of dropout of their own are drawn from the space's steps above "
        "0. The ratio is to "
        "one head in the same round.\n\n"
        f"- command: `{command}`\n"
        f"- machine: {machine['device']}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n"
        f"- data: {data.source}, fingerprint {data.fingerprint}\n\n"
        + tabulate(
            rows,
            ["heads", "lanes", "seconds", "ratio to one lane", "ms a head"],
            tablefmt="github",
            disable_numparse=True,
        )
        + "\n"
    )
    named = [{"heads": kind, "lanes": how, "seconds": taken} for (kind, how), taken in seconds.items()]
    return text, {"figures": named, "environment": machine, "command": command}


def _given(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The options as they are written in the table; folders by their names as given."""
    given = [("--data", str(options.data))]
    if options.weights_dir is not None:
        given.append(("--weights-dir", str(options.weights_dir)))
    given.append(("--rounds", str(options.rounds)))
    if options.out is not None:
        given.append(("--out", str(options.out)))
    return given


if __name__ == "__main__":
    raise SystemExit(main())
