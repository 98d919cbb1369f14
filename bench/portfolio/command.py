"""Which few configs, taken from recorded studies, are near the best on most tasks?

    python -m bench.portfolio make --storage S --data DIR --weights-dir DIR
    python -m bench.portfolio check --storage S --data DIR --weights-dir DIR

`make` takes the best configs of the studies, trains each on the photos of every task that has studies, and writes the
few that together come closest to every task's best to studies/portfolio.json, which is shipped. What was trained is
kept: the same command goes on where it was stopped, and what is not trained on every task yet does not count. `check`
chooses again with each task left out in turn, and writes results/portfolio/README.md. DIR of --data holds a folder a
task.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from search_spaces import InputError

OUT = Path("results/portfolio")
SHIPPED = Path(__file__).resolve().parents[2] / "studies" / "portfolio.json"
SIZE, EACH = 8, 8


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 the input is wrong, 130 stopped by the user with what was trained kept."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    try:
        return _run(options, shlex.join(["python", "-m", "bench.portfolio", *arguments]))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; what was trained is kept: the same command goes on\n")
        return 130


def _run(options: argparse.Namespace, command: str) -> int:
    from .candidates import candidates_of, read_studies, transfer_tasks
    from .matrix import fill, open_matrix
    from .report import portfolio_file, rows_of, write_page

    studies = read_studies(options.storage, options.studies)
    candidates = candidates_of(studies, options.each)
    names = dict.fromkeys(study.task for study in studies)
    tasks = {name: task for name, task in transfer_tasks().items() if name in names}
    matrix = open_matrix(options.out / "cells", tasks, options.data, options.weights_dir, options.epochs)
    configs = [candidate.config for candidate in candidates]
    if options.command == "make":
        fill(matrix, configs, options.weights_dir, options.seconds, _say)
    rows = rows_of(matrix, candidates)
    if not rows:
        raise InputError("no candidate is trained on every task yet: run python -m bench.portfolio make for longer")
    _say(f"{len(rows)} of {len(candidates)} candidates are trained on every task")
    if options.command == "make":
        portfolio_file(options.shipped, matrix, candidates, rows, options.size, command)
        _say(f"written: {options.shipped}")
    else:
        sys.stdout.write(write_page(options.out, matrix, candidates, rows, studies, options.size, command))
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.portfolio", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="train what is missing, and write the shipped configs")
    make.add_argument("--seconds", type=float, help="begin no further training after so long")
    make.add_argument("--shipped", type=Path, default=SHIPPED, metavar="FILE", help="default studies/portfolio.json")
    check = commands.add_parser("check", help="leave each task out in turn")
    for one in (make, check):
        one.add_argument("--storage", metavar="URL", help="of the recorded studies [default: as pomona's]")
        one.add_argument("--studies", nargs="*", default=[], metavar="NAME", help="default: all")
        one.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds a folder of photos a task")
        one.add_argument("--weights-dir", type=Path, metavar="DIR", help="a folder with pretrained weights")
        one.add_argument("--epochs", type=int, default=8, help="of every training (default 8)")
        one.add_argument("--each", type=int, default=EACH, help=f"candidates a task (default {EACH})")
        one.add_argument("--size", type=int, default=SIZE, help=f"configs of a portfolio (default {SIZE})")
        one.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"default {OUT}")
    return parser
