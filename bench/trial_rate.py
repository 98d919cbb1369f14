"""How many trials an hour does a search reach, sampler, pruner and storage on, and where does the time go?

    python -m bench.trial_rate --data DIR --weights-dir DIR --trials 2000 --epochs 10 [--set dim=value] [--out FOLDER]

A whole search as `pomona search` runs it, by default of heads on the kept features of a frozen MobileNetV2, in a fresh
storage and with an empty cache. The clock starts when the search does, so that the prefixes count and reading the
photos does not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch
from tabulate import tabulate

from search_spaces import InputError, task_named
from search_spaces.benchmarks import ONLY_HEADS, fixed_values
from studies import Search, SearchRequest, Study, prepare_search
from studies.recording import Recording
from training import LaneGroup, Prefixes, atomic_write_bytes, environment, write_versioned_json

_STEP = 250
# What is timed: a part of the search, and the methods that are it. Prefixes are computed inside an epoch.
PARTS: dict[str, tuple[tuple[type, str], ...]] = {
    "training and scoring the lanes": ((LaneGroup, "train_epoch"),),
    "frozen stages (part of it)": ((Prefixes, "block"),),
    "asking the sampler": ((Study, "ask"),),
    "recording epochs": ((Recording, "report_many"),),
    "asking the pruner": ((Recording, "prune_many"),),
    "recording ends": ((Recording, "finish"),),
}


@contextlib.contextmanager
def stopwatches() -> Iterator[dict[str, float]]:
    """Seconds spent in each of `PARTS` while this is open."""
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                spent[part] += time.perf_counter() - started

        return run

    with contextlib.ExitStack() as stack:
        for part, methods in PARTS.items():
            for owner, name in methods:
                original = getattr(owner, name)
                setattr(owner, name, timed(part, original))
                stack.callback(setattr, owner, name, original)
        yield spent


def run(search: Search) -> tuple[list[tuple[int, float, dict[str, float]]], float]:
    """(trials ended, seconds so far, seconds by part so far) after every so many trials, and the seconds of it all."""
    marks: list[tuple[int, float, dict[str, float]]] = []
    started = time.perf_counter()
    with stopwatches() as spent:
        for _ in search.run(lambda _progress: None):
            ended = search.study.ended
            if ended >= (len(marks) + 1) * _STEP:
                marks.append((ended, time.perf_counter() - started, dict(spent)))
                sys.stderr.write(f"{ended} trials, {marks[-1][1]:.0f} s\n")
        seconds = time.perf_counter() - started
    if not marks or marks[-1][0] < search.study.ended:
        marks.append((search.study.ended, seconds, dict(spent)))
    return marks, seconds


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.trial_rate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strategy", default="plain", help="as of pomona search (default plain)")
    parser.add_argument("--set", action="append", default=[], metavar="DIM=VALUE")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write trials_per_hour.md and .json")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POMONA_CACHE"] = str(Path(folder) / "cache")
        try:
            text, figures = measured(options, folder, shlex.join(["python", "-m", "bench.trial_rate", *argv]))
        except InputError as problem:
            sys.stderr.write(f"error: {problem}\n")
            return 1
    sys.stdout.write(text)
    if options.out is not None:
        atomic_write_bytes(options.out / "trials_per_hour.md", text.encode())
        write_versioned_json(options.out / "trials_per_hour.json", figures)
    return 0


def measured(options: argparse.Namespace, folder: str, command: str) -> tuple[str, dict[str, Any]]:
    fixed = fixed_values(task_named("fruit"), options.resolution, [*ONLY_HEADS, *options.set])
    search = prepare_search(
        SearchRequest(
            task="fruit",
            data=options.data,
            weights_dir=options.weights_dir,
            storage=str(Path(folder) / "journal.log"),
            trials=options.trials,
            epochs=options.epochs,
            seed=options.seed,
            lanes=options.lanes,
            strategy=options.strategy,
            fixed=fixed,
        ),
        lambda line: print(line, file=sys.stderr),
    )
    marks, seconds = run(search)
    study = search.study
    counts = ", ".join(f"{count} {state}" for state, count in study.counts().items())
    epochs = sum(record.epochs for record in study.records())
    rows, before = [], (0, 0.0, dict.fromkeys(PARTS, 0.0))
    for ended, until, spent in marks:
        trials, took = ended - before[0], until - before[1]
        shares = [f"{1000 * (spent[part] - before[2][part]) / trials:.1f}" for part in PARTS]
        rows.append([f"{before[0]} to {ended}", f"{3600 * trials / took:,.0f}", f"{1000 * took / trials:.1f}", *shares])
        before = (ended, until, spent)
    last = marks[-1][2]
    rows.append(
        [
            "all",
            f"{3600 * study.ended / seconds:,.0f}",
            f"{1000 * seconds / study.ended:.1f}",
            *(f"{1000 * last[part] / study.ended:.1f}" for part in PARTS),
        ]
    )
    machine = environment(torch.device("cpu"))
    text = (
        "# Trials an hour\n\n"
        f"A search of {study.settings.trials} trials of {options.epochs} epochs over the fruit space with "
        f"{', '.join(f'{name} {value}' for name, value in fixed.items())}, in {study.settings.lanes} lanes; strategy "
        f"{study.settings.strategy}, Hyperband, "
        f"journal file, empty cache. {counts}; {epochs} epochs in all. Milliseconds a trial, by part.\n\n"
        f"- command: `{command}`\n"
        f"- machine: {machine['device']}; torch {torch.__version__}, optuna {machine['versions'].get('optuna', '')}; "
        f"commit {machine['commit'] or 'none'}\n"
        f"- data: {study.settings.source}, fingerprint {study.settings.fingerprint}\n\n"
        + tabulate(rows, ["trials", "an hour", "ms a trial", *PARTS], tablefmt="github", disable_numparse=True)
        + "\n"
    )
    figures = {
        "command": command,
        "environment": machine,
        "trials": study.ended,
        "seconds": seconds,
        "trials_per_hour": 3600 * study.ended / seconds,
        "marks": [{"trials": ended, "seconds": until, "parts": spent} for ended, until, spent in marks],
    }
    return text, figures


if __name__ == "__main__":
    raise SystemExit(main())
