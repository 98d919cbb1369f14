"""Does a search scale? Its scheduler on recorded events, what storages cost a trial, and what workers are worth here.

    python -m bench.scaling simulate STUDY... [--storage URL] [--workers N,...] [--pruners P,...] [--lanes L,...]
    python -m bench.scaling storages [--postgres URL] [--sizes N,...] [--trials N]
    python -m bench.scaling workers --data DIR --weights-dir DIR [--rounds N] [--trials N] [--workers N]
    python -m bench.scaling report

`simulate` draws trials from recorded studies and replays them through the scheduler with a simulated clock. `storages`
measures what trials take beside their training, with so many in the study already: in a journal, in SQLite, and in a
PostgreSQL database of which a URL is given, there through Optuna's gRPC proxy too where grpcio is installed. `workers`
runs one search with one worker and with several, in turns. All keep files in DIR/runs, and `report` makes the tables
and the figure of whatever is there.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces import InputError, task_named
from studies.location import without_password
from studies.request import NO_PRUNER, PRUNERS

if TYPE_CHECKING:
    from .runs import SimulationRun, StorageRun, WorkersRun

    Run = SimulationRun | StorageRun | WorkersRun

OUT = Path("results/scaling")
WORKERS = tuple(2**power for power in range(11))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 the input is wrong, 130 stopped by the user with whole runs kept."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "bench.scaling", *map(without_password, arguments)])
    try:
        runs = {"simulate": _simulate, "storages": _storages, "workers": _workers, "report": _report}
        found = runs[options.command](options, command)
        if options.json:
            print(json.dumps([asdict(run) for run in found], indent=2))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; whole runs are kept\n")
        return 130
    return 0


def _report(options: argparse.Namespace, command: str) -> Sequence[Run]:
    from .report import write_report
    from .runs import load_simulations, load_storages, load_workers

    page = write_report(options.out, command)
    if not options.json:
        sys.stdout.write(page)
    return [*load_simulations(options.out), *load_storages(options.out), *load_workers(options.out)]


def _simulate(options: argparse.Namespace, command: str) -> Sequence[Run]:
    from studies import open_study

    from .runs import save_run
    from .simulate import Wanted, simulated

    if unknown := [name for name in options.pruners if name not in PRUNERS]:
        raise InputError(f"unknown pruner {unknown[0]!r}: {', '.join(PRUNERS)}")
    _at_least(1, trials=[options.trials], workers=options.workers, lanes=options.lanes)
    wanted = Wanted(tuple(options.workers), options.trials, options.seed, command)
    found = []
    for name in options.studies:
        study = open_study(name, options.storage)
        for lanes in options.lanes:
            for pruner in options.pruners:
                found.append(run := simulated(study, wanted, pruner, lanes, _note))
                save_run(options.out, run)
    return found


def _storages(options: argparse.Namespace, command: str) -> Sequence[Run]:
    from .runs import save_run
    from .storages import Wanted, measure

    _at_least(1, trials=[options.trials], epochs=[options.epochs])
    _at_least(0, sizes=options.sizes)
    wanted = Wanted(
        task=task_named(options.task),
        sizes=tuple(sorted(options.sizes)),
        trials=options.trials,
        epochs=options.epochs,
        pruner=PRUNERS[0],
        postgres=options.postgres,
        command=command,
    )
    found = []
    for run in measure(wanted, _note):
        save_run(options.out, run)
        found.append(run)
    return found


def _workers(options: argparse.Namespace, command: str) -> Sequence[Run]:
    from .runs import save_run
    from .workers import Wanted, measure

    _at_least(1, trials=[options.trials], epochs=[options.epochs], rounds=[options.rounds])
    _at_least(2, workers=[options.workers])
    wanted = Wanted(
        task=task_named(options.task).name,
        data=options.data,
        weights_dir=options.weights_dir,
        trials=options.trials,
        epochs=options.epochs,
        side=options.side,
        workers=options.workers,
        rounds=options.rounds,
        seed=options.seed,
        command=command,
    )
    run = measure(wanted, _note)
    save_run(options.out, run)
    return [run]


def _at_least(least: int, **numbers: Sequence[int]) -> None:
    for name, values in numbers.items():
        if not values or min(values) < least:
            raise InputError(f"--{name} must be at least {least}")


def _note(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the runs for programs")
    commands = parser.add_subparsers(dest="command", required=True, help="what to do")
    simulate = commands.add_parser("simulate", help="replay recorded studies with more workers")
    simulate.add_argument("studies", nargs="+", metavar="STUDY")
    simulate.add_argument("--storage", metavar="URL", help="where the studies are")
    simulate.add_argument("--workers", type=_numbers, default=list(WORKERS), metavar="N,...", help="default 1 to 1024")
    simulate.add_argument("--pruners", type=_names, default=[NO_PRUNER, "median", "hyperband"], metavar="P,...")
    simulate.add_argument("--lanes", type=_numbers, default=[1, 16], metavar="L,...", help="default 1,16")
    simulate.add_argument("--trials", type=int, default=4096, help="drawn from a study (default 4096)")
    simulate.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    storages = commands.add_parser("storages", help="measure what trials take beside their training")
    storages.add_argument("--postgres", metavar="URL", help="a PostgreSQL database; what is written there is deleted")
    storages.add_argument("--sizes", type=_numbers, default=[0, 1000, 10000], metavar="N,...", help="0,1000,10000")
    storages.add_argument("--trials", type=int, default=50, help="measured at each size (default 50)")
    storages.add_argument("--epochs", type=int, default=8, help="of each trial (default 8)")
    storages.add_argument("--task", default="fruit", help="whose space is searched (default fruit)")
    workers = commands.add_parser("workers", help="measure what workers of this machine are worth")
    workers.add_argument("--data", type=Path, required=True, metavar="DIR", help="photos")
    workers.add_argument("--weights-dir", type=Path, required=True, metavar="DIR")
    workers.add_argument("--task", default="fruit", help="that is searched (default fruit)")
    workers.add_argument("--trials", type=int, default=12, help="of each search (default 12)")
    workers.add_argument("--epochs", type=int, default=4, help="of each trial (default 4)")
    workers.add_argument("--resolution", dest="side", type=int, default=128, help="in pixels (default 128)")
    workers.add_argument("--workers", type=int, default=2, help="against one (default 2)")
    workers.add_argument("--rounds", type=int, default=3, help="default 3")
    workers.add_argument("--seed", type=int, default=0, help="of the trials (default 0)")
    report = commands.add_parser("report", help="tables and figure of the runs that are there")
    for command in (simulate, storages, workers, report):
        command.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"default {OUT}")
        # After the command too.
        command.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print the runs for programs"
        )
    return parser


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in _names(text)]
