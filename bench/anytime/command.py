"""How good is the best model so far, against wall time from a cold start: ours, the peers, and a frozen probe?

    python -m bench.anytime run --data DIR --weights-dir DIR [--tasks T,...] [--systems S,...] [--seeds K,...]
    python -m bench.anytime report

`run` gives every system the same photos and the same time, each from the start of a fresh process with empty caches,
and keeps a file a run: what is there is not run again. `report` makes the tables and the figure of whatever is there.
DIR of --data holds a folder a task. A fifth of each task's `train` is held back from all systems; what was best at the
marks is scored on it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from search_spaces import InputError

from .runs import OPTUNA, SYSTEMS, TASKS

OUT = Path("results/anytime")
EARLIER = "5103d87"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 the input is wrong, 130 stopped by the user with whole runs kept."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    try:
        if options.command == "report":
            from .report import write_report

            sys.stdout.write(write_report(options.out, shlex.join(["python", "-m", "bench.anytime", *arguments])))
            return 0
        _measure(options)
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; whole runs are kept: the same command goes on\n")
        return 130
    return 0


def _measure(options: argparse.Namespace) -> None:
    from .measure import Plan, measure, to_stderr, unknown

    unknown(options.tasks, TASKS, "task")
    unknown(options.systems, list(SYSTEMS), "system")
    if options.seconds <= 0 or options.epochs < 1:
        raise InputError("--seconds and --epochs must be more than 0")
    for name in (options.data, options.weights_dir):
        if not name.is_dir():
            raise InputError(f"no folder {str(name)!r}: name the photos with --data and the weights with --weights-dir")
    plan = Plan(
        tasks=tuple(options.tasks),
        systems=tuple(options.systems),
        seeds=tuple(options.seeds),
        seconds=options.seconds,
        epochs=options.epochs,
        data=options.data,
        weights_dir=options.weights_dir,
        out=options.out,
        earlier=options.before,
        scored=not options.no_test,
    )
    measure(plan, to_stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.anytime", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="make the runs that are not there yet")
    run.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds a folder of photos a task")
    run.add_argument("--weights-dir", type=Path, required=True, metavar="DIR", help="a folder with pretrained weights")
    run.add_argument("--tasks", "--task", type=_names, default=list(TASKS), metavar="T,...")
    run.add_argument("--systems", "--system", type=_names, default=list(SYSTEMS), metavar="S,...", help=_systems())
    run.add_argument("--seeds", "--seed", type=_numbers, default=[0, 1, 2], metavar="K,...", help="default 0,1,2")
    run.add_argument("--seconds", type=float, default=600.0, help="that each system gets (default 600)")
    run.add_argument("--epochs", type=int, default=8, help="of a full trial of the peers (default 8)")
    run.add_argument("--before", default=EARLIER, metavar="COMMIT", help=f"of system before (default {EARLIER})")
    run.add_argument("--no-test", action="store_true", help="do not score ours on the part that was held back yet")
    report = commands.add_parser("report", help="tables and figure of the runs that are there")
    for command in (run, report):
        command.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"default {OUT}")
    return parser


def _systems() -> str:
    return "; ".join(f"{name}: {title}" for name, title in SYSTEMS.items()) + f"; the report compares with {OPTUNA}"


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in _names(text)]
