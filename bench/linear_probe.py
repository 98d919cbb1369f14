"""What do frozen features give with nothing searched at all?

    python -m bench.linear_probe TASK --data DIR --weights-dir DIR [--backbones NAME,...] [--resolutions R,...]
        [--device cpu] [--elsewhere DIR]

Pooled features of the whole frozen backbone, one view a photo, standardised by the training split, under a logistic
regression (L-BFGS, L2 of 1e-3 on the mean loss). It is the figure that a search has to beat. The last
column says how long after the process began each was there, with what a cache held before it.
"""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tabulate import tabulate

from search_spaces import InputError, Task, interval_text, task_named, value_text
from search_spaces.transfer import frozen_recipe
from training import (
    Prefixes,
    PrefixStore,
    Split,
    Splits,
    atomic_write_bytes,
    environment,
    load_backbone,
    measure_numerics,
    open_data,
    resolve_device,
    spec_of,
)
from training.data import Kind, open_labelled
from training.machine.process import configure
from training.scoring.intervals import Estimate, accuracy, grouped_accuracy

BACKBONES = ("mobilenet_v2", "timm:tf_efficientnet_lite0")
RESOLUTIONS = (128, 224)
_DECAY = 1e-3


def fitted(splits: Splits, backbone: str, resolution: int, prefixes: Prefixes) -> Callable[[Split], Estimate]:
    """What gives the accuracy on a split of a linear classifier that is fitted to the features of `train`."""
    correct = answers(splits, backbone, resolution, prefixes)
    return lambda split: accuracy(correct(split))


def answers(splits: Splits, backbone: str, resolution: int, prefixes: Prefixes) -> Callable[[Split], list[bool]]:
    """What says of each example of a split whether that classifier is right."""
    stages = len(prefixes.backbone(backbone).stages)
    structure = spec_of(frozen_recipe(backbone, resolution)).structure(stages)

    def features(split: Split) -> NDArray[np.float32]:
        return prefixes.block(split, structure, stages, strength=0, view=0).float().cpu().numpy()

    train = features(splits.train)
    scaler = StandardScaler().fit(train)
    head = LogisticRegression(C=1 / (_DECAY * len(train)), max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        head.fit(scaler.transform(train), splits.train.labels.numpy())

    def correct(split: Split) -> list[bool]:
        found: list[bool] = (head.predict(scaler.transform(features(split))) == split.labels.numpy()).tolist()
        return found

    return correct


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.linear_probe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--backbones", type=lambda text: text.split(","), default=list(BACKBONES), metavar="NAME,...")
    parser.add_argument(
        "--resolutions", type=lambda text: [int(part) for part in text.split(",")], default=list(RESOLUTIONS)
    )
    parser.add_argument("--device", default="cpu", help="that computes features; default: cpu")
    parser.add_argument("--elsewhere", type=Path, metavar="DIR", help="photos by others, without splits")
    parser.add_argument("--out", type=Path, metavar="FILE.md")
    options = parser.parse_args(argv)
    try:
        text = measured(options, shlex.join(sys.argv[1:] if argv is None else argv))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(text)
    if options.out is not None:
        atomic_write_bytes(options.out, text.encode())
    return 0


def measured(options: argparse.Namespace, arguments: str) -> str:
    device, task = resolve_device(options.device), task_named(options.task)
    data = open_data(options.data, task)
    numerics = measure_numerics(device).numerics
    prefixes = Prefixes(
        backbones=functools.partial(load_backbone, weights_dir=options.weights_dir),
        numerics=numerics,
        device=device,
        store=PrefixStore(),
    )
    rows = []
    for backbone in options.backbones:
        for resolution in options.resolutions:
            splits = data.at(resolution)
            correct = answers(splits, backbone, resolution, prefixes)
            found = accuracy(correct(splits.valid))
            row = [backbone, resolution, *_texts(found, task), found.n, _since_start()]
            if options.elsewhere is not None:
                others = open_labelled(str(options.elsewhere), data.classes, Kind.of(task), None, resolution).examples
                right = correct(others)
                row += _texts(accuracy(right), task)
                row += _texts(grouped_accuracy(right, others.groups), task) if others.groups else ["", ""]
            rows.append(row)
    columns = ["features of", "pixels", "accuracy", "95 %", "n", "after, s"]
    if options.elsewhere is not None:
        columns += ["elsewhere", "95 %", "by groups", "95 %"]
    machine = environment(device)
    return (
        f"# {task.name}: a linear head on frozen features\n\n"
        "Nothing is searched: one view a photo, pooled features standardised by the training split, logistic "
        f"regression with L2 of {_DECAY:g}.\n\n"
        f"- command: `python -m bench.linear_probe {arguments}`\n"
        f"- data: {data.source}, fingerprint {data.fingerprint}\n"
        f"- machine: {machine['device']}; {numerics}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n"
        "\n" + tabulate(rows, columns, tablefmt="github", disable_numparse=True) + "\n"
    )


def _texts(found: Estimate, task: Task) -> list[str]:
    return [value_text(task.metric, found.value), interval_text(task.metric, found.ci95)]


def _since_start() -> str:
    """Seconds since this process began, imports too; empty where there is no /proc to tell."""
    try:
        # The name of the program, in parentheses, may hold spaces; the 22nd field is ticks since the machine started.
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf('SC_CLK_TCK'):.1f}"


if __name__ == "__main__":
    configure()
    raise SystemExit(main())
