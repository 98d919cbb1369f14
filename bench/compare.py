"""Did a change make something slower? Compares two files of one benchmark.

    python -m bench.compare A.json B.json

A is before the change, B after it: files of pytest-benchmark, of `pomona bench throughput` or of `pomona bench
search-speed`. A benchmark counts as slower where its fast calls of B (the lower quartile) take longer than the slow
ones of A (the upper quartile) and the medians differ by more than the tolerance; as faster where it is the other way
round. For throughput, the times relative to the reference of the same run are compared as well: those say the same on
a machine that is busier in one of the runs. Exit code 0 nothing is slower, 1 something is or a file is wrong, 2 wrong
usage.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from tabulate import tabulate

from search_spaces import InputError
from training.machine.files import answer_text

from .answers import JSON_HELP
from .timings import SECONDS, Results, Timing, load

TOLERANCE = 0.1
"""Medians that differ by less than this share are never told apart.

The quartiles of one run know nothing of what changes from run to run: of the same code, on a machine with other work, a
quarter of the cases were told apart at 5 %.
"""

MIN_ROUNDS = 3
"""Fewer calls than these have no spread to speak of."""


class Verdict(StrEnum):
    SLOWER = "slower"
    FASTER = "faster"
    SAME = "no difference shown"
    UNKNOWN = "too few rounds"


@dataclass(frozen=True)
class Comparison:
    """One benchmark in both files. `ratio` is the time of B over that of A; `low` and `high` are what their quartiles
    allow."""

    name: str
    a: Timing
    b: Timing
    ratio: float
    low: float
    high: float
    verdict: Verdict


def compare(a: Mapping[str, Timing], b: Mapping[str, Timing]) -> list[Comparison]:
    """The benchmarks that are in both, in A's order."""
    return [_compared(name, timing, b[name]) for name, timing in a.items() if name in b]


def _compared(name: str, a: Timing, b: Timing) -> Comparison:
    ratio = b.median / a.median
    if min(a.rounds, b.rounds) < MIN_ROUNDS:
        verdict = Verdict.UNKNOWN
    elif b.low > a.high and ratio > 1 + TOLERANCE:
        verdict = Verdict.SLOWER
    elif a.low > b.high and 1 / ratio > 1 + TOLERANCE:
        verdict = Verdict.FASTER
    else:
        verdict = Verdict.SAME
    return Comparison(name, a, b, ratio, b.low / a.high, b.high / a.low, verdict)


def warnings(a: Results, b: Results) -> list[str]:
    """What the reader of the ratios must know: one sentence each."""
    differing = [
        f"{name} {a.machine.get(name, 'unknown')!r} and {b.machine.get(name, 'unknown')!r}"
        for name in dict.fromkeys([*a.machine, *b.machine])
        if a.machine.get(name) != b.machine.get(name)
    ]
    return [f"A and B were not measured on the same machine: {'; '.join(differing)}"] if differing else []


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 nothing is slower, 1 something is or a file is wrong, 2 (raised by argparse) wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", type=Path, metavar="A.json", help="before the change")
    parser.add_argument("b", type=Path, metavar="B.json", help="after it")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    options = parser.parse_args(argv)
    try:
        a, b = load(options.a), load(options.b)
        comparisons = compare(a.timings, b.timings)
        if not comparisons:
            raise InputError(f"{options.a} and {options.b} have no benchmark in common")
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    for sentence in warnings(a, b):
        sys.stderr.write(f"warning: {sentence}\n")
    sys.stdout.write(_as_json(a, b, comparisons) if options.json else _as_table(a, b, comparisons))
    return int(any(one.verdict == Verdict.SLOWER for one in comparisons))


def _as_json(a: Results, b: Results, comparisons: Sequence[Comparison]) -> str:
    answer = {
        "tolerance": TOLERANCE,
        "comparisons": [asdict(one) for one in comparisons],
        "only_a": _only(a, b),
        "only_b": _only(b, a),
        "warnings": warnings(a, b),
    }
    return answer_text(answer) + "\n"


def _as_table(a: Results, b: Results, comparisons: Sequence[Comparison]) -> str:
    rows = [
        [
            one.name,
            _shown(one.a),
            _shown(one.b),
            f"{one.ratio:.2f} ({one.low:.2f} to {one.high:.2f})",
            str(one.verdict),
        ]
        for one in comparisons
    ]
    headings = ["benchmark", "median A", "median B", "B / A (quartiles)", "verdict"]
    counts = Counter(one.verdict for one in comparisons)
    lines = [
        tabulate(rows, headings, tablefmt="github", disable_numparse=True),
        "",
        ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
        + f"; told apart are quartiles that do not overlap and medians that differ by more than {TOLERANCE:.0%}",
    ]
    lines += [
        f"only in {side}: {', '.join(names)}" for side, names in (("A", _only(a, b)), ("B", _only(b, a))) if names
    ]
    return "\n".join(lines) + "\n"


def _only(here: Results, there: Results) -> list[str]:
    return [name for name in here.timings if name not in there.timings]


def _shown(timing: Timing) -> str:
    if timing.unit != SECONDS:
        return f"{timing.median:.3g} {timing.unit}"
    return _time(timing.median)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


if __name__ == "__main__":
    raise SystemExit(main())
