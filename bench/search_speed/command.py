"""How much faster is a search with shared work than what people run today, and does it learn the same?

    python -m bench.search_speed --data DIR --weights-dir DIR --results FILE --out DIR

trains one list of configs by each method in blocks that take turns. What was measured is kept after every block: the
same command goes on where it was stopped. `--time-to-target` adds searches until the task's target is passed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_spaces import InputError, Task, task_named
from search_spaces.benchmarks import fixed_values
from training.machine.files import answer_text

from ..answers import JSON_HELP, with_results
from .configs import draw_configs
from .job import Job
from .methods import OURS, methods_named
from .results import Results, load, save

TASK = "fruit"
DEFAULT_METHODS = "notebook,expert,ray,ours-no-lanes,ours"


@dataclass(frozen=True)
class Options:
    """What is to be measured; `counts` and `blocks` are by method, for those that differ from the rest."""

    data: Path | None
    weights_dir: Path | None
    configs: int = 24
    epochs: int = 8
    side: int = 128
    seed: int = 0
    methods: tuple[str, ...] = tuple(DEFAULT_METHODS.split(","))
    counts: tuple[tuple[str, int], ...] = ()
    blocks: tuple[tuple[str, int], ...] = ()
    fixed: tuple[str, ...] = ()
    growth: tuple[int, ...] = ()
    time_to_target: bool = False
    target: float | None = None
    repeats: int = 3
    search_trials: int = 50
    device: str = "auto"
    results: Path | None = None
    json: bool = False
    out: Path | None = None
    command: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 the input is wrong, 130 stopped by the user with everything saved."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.stdout.write(run(parse(arguments)))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(
            "stopped; whole blocks are kept where --results or --out named a place: the same command goes on\n"
        )
        return 130
    return 0


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m bench.search_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="a folder with train/ and valid/; without it nothing is measured and --results is shown",
    )
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="a folder with pretrained weights")
    parser.add_argument("--configs", type=int, default=24, help="how long the list is (default 24)")
    parser.add_argument("--epochs", type=int, default=8, help="of every config (default 8)")
    parser.add_argument("--resolution", type=int, default=128, help="pixels a side (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="of the list and of training (default 0)")
    parser.add_argument("--methods", default=DEFAULT_METHODS, help=f"default {DEFAULT_METHODS}; there is optuna too")
    parser.add_argument(
        "--peer-configs", default="", metavar="NAME=N,...", help="train only the first N, and scale (default: all)"
    )
    parser.add_argument(
        "--blocks",
        default="",
        metavar="B|NAME=B,...",
        help="in how many blocks (default 4; 2 for ours, ray and optuna)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="DIM=VALUE", help="hold a dimension at one value")
    parser.add_argument("--growth", default="", metavar="N,...", help="longer lists, trained by ours only")
    parser.add_argument("--time-to-target", action="store_true", help="also search until the target is passed")
    parser.add_argument("--target", type=float, help="another target than the task's")
    parser.add_argument("--repeats", type=int, default=3, help="seeds of --time-to-target")
    parser.add_argument("--search-trials", type=int, default=50, help="trials that a search may take at most")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="what computes (default auto)"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep the figures, and go on from them")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write search_speed.md, .png and, without --results, .json"
    )
    found = parser.parse_args(with_results(arguments))
    methods = tuple(_names(found.methods))
    return Options(
        data=found.data,
        weights_dir=found.weights_dir,
        configs=found.configs,
        epochs=found.epochs,
        side=found.resolution,
        seed=found.seed,
        methods=methods,
        counts=_numbers("--peer-configs", found.peer_configs, methods),
        blocks=tuple((name, int(found.blocks)) for name in methods)
        if found.blocks.isdecimal()
        else _numbers("--blocks", found.blocks, methods),
        fixed=tuple(found.set),
        growth=tuple(_whole("--growth", number) for number in _names(found.growth)),
        time_to_target=found.time_to_target,
        target=found.target,
        repeats=found.repeats,
        search_trials=found.search_trials,
        device=found.device,
        results=found.results,
        json=found.json,
        out=found.out,
        command=shlex.join(["python", "-m", "bench.search_speed", *arguments]),
    )


def run(options: Options) -> str:
    """Measures what is not measured yet and returns the tables.

    Raises:
        InputError: something is wrong with the options, or the file of results is of other settings.
    """
    from . import figures
    from .measure import measure, measure_growth, plan
    from .progress import Progress
    from .time_to_target import goal_of, measure_searches

    task = task_named(TASK)
    if options.data is None and options.results is not None:
        return _answer(load(options.results), task, options)
    _check(options)
    methods = methods_named(options.methods)
    fixed = fixed_values(task, options.side, options.fixed)
    lists = {count: draw_configs(task, fixed, count, options.seed) for count in (options.configs, *options.growth)}
    results, job, environment = _opened(options, Results({}, {}, lists[options.configs]))
    path = options.results or (options.out / "search_speed.json" if options.out else None)
    goals = [
        goal_of(task, fixed, options.target, options.search_trials, options.seed + repeat)
        for repeat in range(options.repeats if options.time_to_target else 0)
    ]
    results.about["target"] = goals[0].target if goals else None
    if path is not None and path.exists():
        results = continued(load(path), results)

    def keep(measured: Results) -> None:
        if environment not in measured.about["environments"]:
            measured.about["environments"].append(environment)
        if path is not None:
            save(path, measured, figures.derived(measured))

    counts = {name: min(dict(options.counts).get(name, options.configs), options.configs) for name in options.methods}
    blocks = {method.name: dict(options.blocks).get(method.name, method.blocks) for method in methods}
    planned = plan(methods, counts, blocks)
    wanted = {(block.method.name, block.number): block.configs for block in planned}
    results.blocks = [
        block
        for block in results.blocks
        # Of a method that is not asked for this time, everything stays.
        if block.method not in counts
        or wanted.get((block.method, block.number)) == tuple(trained.config for trained in block.trained)
    ]
    with Progress(planned, results, options.growth) as progress:
        measure(job, planned, results, keep, progress)
        measure_growth(
            job, methods_named([OURS])[0], [lists[count] for count in options.growth], results, keep, progress
        )
        measure_searches(job, goals, results, keep, progress)
    return _answer(results, task, options)


def _answer(results: Results, task: Task, options: Options) -> str:
    """The tables, which go to the folder of --out too, or with --json what a file of results holds."""
    from . import figures, report

    tables = report.write(results, task, options.out)
    return answer_text(figures.derived(results) | asdict(results)) + "\n" if options.json else tables


def _opened(options: Options, results: Results) -> tuple[Results, Job, dict[str, Any]]:
    """The results with their settings, the job, and the environment; finds out what is wrong with the data."""
    from training import environment, load_backbone, open_data, resolve, resolve_device

    assert options.data is not None
    assert options.weights_dir is not None
    device = resolve_device(options.device)
    task = task_named(TASK)
    data = open_data(options.data, task)
    load_backbone(resolve(task, results.configs[0]).backbone.name, weights_dir=options.weights_dir)
    results.settings = {
        "task": TASK,
        "fingerprint": data.fingerprint,
        "epochs": options.epochs,
        "seed": options.seed,
        "device": device.type,
        "methods": list(options.methods),
    }
    results.about = {"command": options.command, "data": data.summary(), "environments": []}
    job = Job(
        task=TASK,
        data=options.data.resolve(),
        weights_dir=options.weights_dir.resolve(),
        side=options.side,
        epochs=options.epochs,
        seed=options.seed,
        device=device.type,
    )
    return results, job, environment(device)


def continued(earlier: Results, now: Results) -> Results:
    """What was measured earlier, to be continued with the settings of now; methods may be added."""
    for name, value in now.settings.items():
        if name != "methods" and earlier.settings.get(name) != value:
            raise InputError(
                f"the results are of another {name} ({earlier.settings.get(name)}, not {value}): choose another file"
            )
    shared = min(len(earlier.configs), len(now.configs))
    if earlier.configs[:shared] != now.configs[:shared] or len(earlier.configs) != len(now.configs):
        raise InputError("the results are of another list of configs: choose another file")
    if earlier.searches and now.about["target"] not in (None, earlier.about["target"]):
        raise InputError(f"the searches are for another target ({earlier.about['target']}): choose another file")
    now.blocks, now.growth, now.searches = earlier.blocks, earlier.growth, earlier.searches
    methods = [*earlier.settings["methods"], *now.settings["methods"]]
    now.settings["methods"] = list(dict.fromkeys(methods))
    now.about["environments"] = earlier.about["environments"]
    now.about["target"] = now.about["target"] or earlier.about["target"]
    return now


def _check(options: Options) -> None:
    numbers = {
        "--configs": options.configs,
        "--epochs": options.epochs,
        "--repeats": options.repeats,
        "--search-trials": options.search_trials,
        **{f"{name} configs": count for name, count in options.counts},
        **{f"{name} blocks": count for name, count in options.blocks},
        "--growth": min(options.growth, default=1),
    }
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"{name} must be at least 1, not {number}")
    if options.data is None or options.weights_dir is None:
        raise InputError(
            "name the photos and the weights with --data and --weights-dir, or results with --results alone"
        )
    for split in ("train", "valid"):
        if not (options.data / split).is_dir():
            raise InputError(f"no folder {split!r} in {str(options.data)!r}: the peers need train/ and valid/")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(option: str, text: str, methods: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """`notebook=8,ray=12` as pairs."""
    pairs = []
    for part in _names(text):
        name, equals, number = part.partition("=")
        if not equals or name not in methods:
            raise InputError(f"{option} takes NAME=NUMBER with names of --methods, not {part!r}")
        pairs.append((name, _whole(option, number)))
    return tuple(pairs)


def _whole(option: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InputError(f"{option} takes whole numbers, not {text!r}")
    return int(text)
