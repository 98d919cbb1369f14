"""How many whole trials an hour does a search do that decides by cost, against an expert's loop, and at what price?

    python -m bench.whole_search --data DIR --weights-dir DIR [--seeds 0,1,2] [--methods expert,plain,rungs]

Every search has the same number of trials of the same epochs, one backbone, one resolution, no pruner, and the whole
space otherwise; ours is run with each strategy. The expert's loop trains the configs that `plain` proposed: all of the
space at once, as a sampler that does not know of costs sees it. Each run is a process of its own with empty caches. Its
clock starts before it decodes photos and measures the machine, and it is kept in a file: what is there is not run
again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported.
    configure()

import torch
from tabulate import tabulate

from search_spaces import Config, InputError, task_named
from search_spaces.benchmarks import fixed_values
from training.data.photos import scan
from training.machine.decode import decoded
from training.machine.device import describe_device
from training.machine.files import atomic_write_bytes, write_versioned_json

from .search_speed.process import Child, Sender

TASK = "fruit"
EXPERT, PLAIN, RUNGS = "expert", "plain", "rungs"
METHODS = {
    EXPERT: "an expert's loop, on the configs that plain proposed",
    PLAIN: "ours, --strategy plain",
    RUNGS: "ours, --strategy rungs",
}
OUT = Path("results/whole_search")


@dataclass(frozen=True)
class Job:
    """One run; `configs` are those that the expert trains."""

    method: str
    seed: int
    trials: int
    epochs: int
    side: int
    data: Path
    weights_dir: Path
    configs: tuple[Config, ...] = ()


@dataclass(frozen=True)
class Trial:
    """A trial that ended: accuracy in 0..1, None where it was not trained to its end. `tuned`: it trains stages."""

    config: Config
    value: float | None
    tuned: bool


@dataclass(frozen=True)
class Result:
    """A run, and how it came about. `seconds` are of all its trials together, shared work included."""

    method: str
    seed: int
    settings: dict[str, Any]
    seconds: float
    trials: tuple[Trial, ...]
    environment: dict[str, Any]

    @property
    def per_hour(self) -> float:
        return 3600 * self.whole / self.seconds

    @property
    def whole(self) -> int:
        """Trials that were trained to their end."""
        return sum(trial.value is not None for trial in self.trials)

    @property
    def best(self) -> float | None:
        return max((trial.value for trial in self.trials if trial.value is not None), default=None)


def search(job: Job) -> tuple[float, list[Trial]]:
    """A search of ours by the strategy that is the method's name, without configs that were found on these photos."""
    os.environ["POMONA_PORTFOLIO"] = "off"
    from studies import SearchRequest, prepare_search
    from training import spec_of

    with tempfile.TemporaryDirectory() as folder:
        request = SearchRequest(
            task=TASK,
            data=str(job.data),
            weights_dir=job.weights_dir,
            storage=str(Path(folder) / "journal.log"),
            trials=job.trials,
            epochs=job.epochs,
            seed=job.seed,
            strategy=job.method,
            pruner="none",
            fixed=fixed_values(task_named(TASK), job.side),
        )
        started = time.perf_counter()
        prepared = prepare_search(request, lambda line: None)
        for _ in prepared.run(lambda progress: None):
            pass
        seconds = time.perf_counter() - started
        return seconds, [
            Trial(
                record.config,
                record.value if record.state == "complete" else None,
                spec_of(record.config).backbone.unfrozen > 0,
            )
            for record in prepared.study.records()
        ]


def train_as_an_expert(job: Job) -> tuple[float, list[Trial]]:
    from bench.peers import expert
    from training import spec_of

    started = time.perf_counter()
    expert.load_photos(job.data, job.side)
    trials = []
    for config in job.configs:
        spec = spec_of(config)
        result = expert.train(spec, job.data, job.weights_dir, job.epochs, job.seed)
        trials.append(Trial(config, result.accuracy, spec.backbone.unfrozen > 0))
    return time.perf_counter() - started, trials


def _serve(parent: Sender, job: Job) -> None:
    from training import environment

    seconds, trials = train_as_an_expert(job) if job.method == EXPERT else search(job)
    parent.send((seconds, trials, environment(torch.device("cpu"))))


def in_a_process(job: Job, settings: dict[str, Any]) -> Result:
    with tempfile.TemporaryDirectory(prefix="pomona-whole-search-") as folder:
        child = Child(_serve, (job,), Path(folder))
        patience = 0
        try:
            seconds, trials, environment = child.receive()
            patience = 30
        finally:
            child.close(patience)
    return Result(job.method, job.seed, settings, seconds, tuple(trials), environment)


def measure(
    options: argparse.Namespace,
    say: Callable[[str], None],
    run: Callable[[Job, dict[str, Any]], Result] = in_a_process,
) -> list[Result]:
    """Makes the runs that are not there yet: all methods of a seed, then the next seed, who begins rotates.

    The expert needs the configs of `plain` of its seed, so it comes after that one.

    Raises:
        InputError: the photos or weights are wrong, or there are runs of other settings.
    """
    settings = {
        "trials": options.trials,
        "epochs": options.epochs,
        "side": options.side,
        "photos": scan(options.data, trust_split=True).fingerprint,
        "machine": describe_device(torch.device("cpu")),
    }
    results: dict[tuple[str, int], Result] = {}
    for turn, seed in enumerate(options.seeds):
        ours = [method for method in options.methods if method != EXPERT]
        first = turn % len(ours) if ours else 0
        for method in (*ours[first:], *ours[:first], *(one for one in options.methods if one == EXPERT)):
            path = options.out / "runs" / f"{method}-{seed}.json"
            if path.is_file():
                results[method, seed] = _load(path, settings)
                continue
            configs: tuple[Config, ...] = ()
            if method == EXPERT:
                if (PLAIN, seed) not in results:
                    raise InputError(f"{EXPERT} trains what {PLAIN} proposed: measure that too, in --methods")
                configs = tuple(trial.config for trial in results[PLAIN, seed].trials)
            say(f"{method}, seed {seed}")
            job = Job(
                *(method, seed, options.trials, options.epochs, options.side),
                *(options.data.resolve(), options.weights_dir.resolve(), configs),
            )
            results[method, seed] = run(job, settings)
            write_versioned_json(path, asdict(results[method, seed]))
    return list(results.values())


def _load(path: Path, settings: dict[str, Any]) -> Result:
    try:
        result = decoded(json.loads(path.read_bytes()), Result)
    except ValueError as problem:
        raise InputError(f"{path} holds no run of this benchmark ({problem}): choose another --out") from None
    if result.settings != settings:
        raise InputError(f"{path} is of other settings ({result.settings}, not {settings}): choose another --out")
    return result


def page(results: Sequence[Result], command: str) -> str:
    """The table, and what it answers."""
    experts = {one.seed: one for one in results if one.method == EXPERT}
    rows, lines = [], []
    for method, title in METHODS.items():
        mine = [one for one in results if one.method == method]
        if not mine:
            continue
        ratios = [
            one.per_hour / experts[one.seed].per_hour for one in mine if one.seed in experts and experts[one.seed].whole
        ]
        bests = [one.best for one in mine if one.best is not None]
        gains = [
            100 * (one.best - theirs)
            for one in mine
            if one.seed in experts and one.best is not None and (theirs := experts[one.seed].best) is not None
        ]
        rows.append(
            [
                title,
                len(mine),
                _range([float(one.whole) for one in mine], "g"),
                _range([float(sum(trial.tuned for trial in one.trials)) for one in mine], "g"),
                _range([one.per_hour for one in mine], ".0f"),
                _range(ratios, ".1f"),
                _range([100 * best for best in bests], ".2f"),
            ]
        )
        if ratios and gains and method != EXPERT:
            lines.append(
                f"{title}: {statistics.median(ratios):.1f} x the expert's trials an hour; its best value is "
                f"{statistics.median(gains):+.2f} points from the expert's (medians over {len(ratios)} seeds)."
            )
    headings = ["method", "seeds", "trials", "of these tuned stages", "trials an hour", "x the expert", "best, %"]
    one = results[0]
    machine = one.environment
    commits = "; ".join(
        f"{commit or 'none'} ({', '.join(dict.fromkeys(methods))})"
        for commit, methods in _methods_of_commits(results).items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        "# Whole searches against an expert's loop\n\n"
        f"{one.settings['trials']} trials of {one.settings['epochs']} epochs on the photos of {TASK} at "
        f"{one.settings['side']} pixels, one backbone, no pruner, the whole space otherwise; sampler and storage "
        "are part of ours. The clock starts before photos are decoded and the machine is measured, caches are empty; "
        "trials that were not trained to their end do not count. Ours leaves its shipped portfolio out. The expert's "
        "loop computes in bf16 where the processor does, else in fp32. Medians over seeds (least to largest).\n\n"
        f"- command: `{command}`\n- machine: {machine['device']}; python {machine['python']}, {versions}; "
        f"commit {commits}\n- photos: fingerprint {one.settings['photos']}\n\n"
        + tabulate(rows, headings, tablefmt="github", disable_numparse=True)
        + "\n\n"
        + "".join(f"- {line}\n" for line in lines)
    )


def _methods_of_commits(results: Sequence[Result]) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for one in results:
        found.setdefault(one.environment["commit"], []).append(one.method)
    return found


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    median, low, high = (f"{value:{form}}" for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low} to {high})"


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.whole_search", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights-dir", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--resolution", dest="side", type=int, default=128)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS), metavar="NAME,...")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help=f"default {OUT}")
    options = parser.parse_args(argv)
    try:
        if unknown := [method for method in options.methods if method not in METHODS]:
            raise InputError(f"unknown method {unknown[0]!r}: there is {', '.join(METHODS)}")
        results = measure(options, lambda line: print(line, file=sys.stderr))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    text = page(results, shlex.join(["python", "-m", "bench.whole_search", *argv]))
    sys.stdout.write(text)
    atomic_write_bytes(options.out / "README.md", text.encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
