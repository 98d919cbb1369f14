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
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from search_spaces import InputError, task_named
from studies.location import without_password
from studies.request import NO_PRUNER, PRUNERS

OUT = Path("results/scaling")
WORKERS = tuple(2**power for power in range(11))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 the input is wrong, 130 stopped by the user with whole runs kept."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "bench.scaling", *map(without_password, arguments)])
    try:
        if options.command == "simulate":
            _simulate(options, command)
        elif options.command == "storages":
            _storages(options, command)
        elif options.command == "workers":
            _workers(options, command)
        else:
            from .report import write_report

            sys.stdout.write(write_report(options.out, command))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; whole runs are kept\n")
        return 130
    return 0


def _simulate(options: argparse.Namespace, command: str) -> None:
    from studies import open_study

    from .runs import save_run
    from .simulate import Wanted, simulated

    if unknown := [name for name in options.pruners if name not in PRUNERS]:
        raise InputError(f"unknown pruner {unknown[0]!r}: {', '.join(PRUNERS)}")
    _at_least(1, trials=[options.trials], workers=options.workers, lanes=options.lanes)
    wanted = Wanted(tuple(options.workers), options.trials, options.seed, command)
    for name in options.studies:
        study = open_study(name, options.storage)
        for lanes in options.lanes:
            for pruner in options.pruners:
                save_run(options.out, simulated(study, wanted, pruner, lanes, _note))


def _storages(options: argparse.Namespace, command: str) -> None:
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
    for run in measure(wanted, _note):
        save_run(options.out, run)


def _workers(options: argparse.Namespace, command: str) -> None:
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
    save_run(options.out, measure(wanted, _note))


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
    commands = parser.add_subparsers(dest="command", required=True)
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
    return parser


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in _names(text)]
