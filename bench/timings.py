"""Timings from the files that benchmarks write, in one form so that two runs can be compared."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import InputError

SECONDS, OF_REFERENCE = "s", "x the reference's time"

# Not the host's name, which changes with every container.
_MACHINE = ("system", "machine", "python_implementation", "python_version", "torch")
_CPU = ("brand_raw", "count")


@dataclass(frozen=True)
class Timing:
    """What a call takes, over `rounds` measurements: the median, and the quartiles `low` and `high`; less is better."""

    median: float
    low: float
    high: float
    rounds: int
    unit: str = SECONDS


@dataclass(frozen=True)
class Results:
    """What a file holds: timings by the benchmark's name, and what the machine says of itself."""

    timings: dict[str, Timing]
    machine: dict[str, str]


def load(path: Path) -> Results:
    """
    Raises:
        InputError: the file can't be read, or is of none of the benchmarks.
    """
    try:
        raw = json.loads(path.read_bytes())
    except OSError as problem:
        raise InputError(f"can't read {path}: {problem.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no JSON: write it with pytest --benchmark-json=FILE") from None
    reader = next((read for field, read in _READERS.items() if isinstance(raw, dict) and field in raw), None)
    if reader is None:
        raise InputError(
            f"{path} is not of pytest-benchmark, pomona bench throughput or pomona bench search-speed: "
            "write it with pytest --benchmark-json=FILE, or with --results FILE of the others"
        )
    try:
        results = reader(raw)
    except (KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError):
        raise InputError(f"{path} is damaged, or of another version of the benchmark: measure again") from None
    if not results.timings:
        raise InputError(f"{path} holds no benchmarks: measure again")
    return results


def _of_pytest(raw: Mapping[str, Any]) -> Results:
    entries = raw["benchmarks"]
    counts = Counter(entry["name"] for entry in entries)
    timings = {
        # Files of tests may have tests of one name.
        entry["name"] if counts[entry["name"]] == 1 else entry["fullname"]: _of_stats(entry["stats"])
        for entry in entries
    }
    info = raw.get("machine_info", {})
    cpu = info.get("cpu") or {}
    payload = {name: info.get(name) for name in _MACHINE} | {f"cpu {name}": cpu.get(name) for name in _CPU}
    return Results(timings, {name: str(value) for name, value in payload.items() if value is not None})


def _of_stats(stats: Mapping[str, Any]) -> Timing:
    return _timing(float(stats["median"]), float(stats["q1"]), float(stats["q3"]), int(stats["rounds"]))


def _of_throughput(raw: Mapping[str, Any]) -> Results:
    """Seconds an image of every way to do a case, and those of ours in times of the reference, by round."""
    from .throughput.cases import Case
    from .throughput.results import OURS, REFERENCE

    timings: dict[str, Timing] = {}
    for entry in raw["measured"]:
        case = Case(**entry["case"])
        measured = [row for row in entry["candidates"] if row["rates"]]
        reference = next((row["rates"] for row in measured if row["who"] == REFERENCE), None)
        for row in measured:
            name = f"{case}: {row['who']}, {row['layout']}, {row['variant']}"
            timings[name] = _over(1 / rate for rate in row["rates"])
            if reference is not None and row["who"] == OURS:
                ratios = (theirs / ours for ours, theirs in zip(row["rates"], reference, strict=True))
                timings[f"{name} / reference"] = _over(ratios, OF_REFERENCE)
    return Results(timings, _environment(raw["about"]["environment"]))


def _of_search_speed(raw: Mapping[str, Any]) -> Results:
    """Seconds a trial of every method, by block."""
    blocks: dict[str, list[float]] = {}
    for block in raw["blocks"]:
        seconds = [one["seconds"] for one in block["trained"]]
        blocks.setdefault(block["method"], []).append(statistics.fmean(seconds))
    environments = raw["about"]["environments"]
    timings = {f"{method}, a trial": _over(seconds) for method, seconds in blocks.items()}
    return Results(timings, _environment(environments[0]) if environments else {})


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
    payload = {name: environment.get(name) for name in ("device", "python", "threads")}
    payload["torch"] = environment.get("versions", {}).get("torch")
    return {name: str(value) for name, value in payload.items() if value is not None}


def _over(values: Iterable[float], unit: str = SECONDS) -> Timing:
    found: Sequence[float] = [*values]
    if len(found) < 2:
        # The spread is not known; `rounds` says so.
        return _timing(found[0], found[0], found[0], len(found), unit)
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return _timing(median, low, high, len(found), unit)


def _timing(median: float, low: float, high: float, rounds: int, unit: str = SECONDS) -> Timing:
    if not all(math.isfinite(value) and value > 0 for value in (median, low, high)):
        raise ValueError("a time that is none")
    # The quartiles are interpolated: where all calls take the same they may be off by a rounding.
    return Timing(median, min(low, median), max(high, median), rounds, unit)


# Which field tells whose file it is.
_READERS: dict[str, Callable[[Mapping[str, Any]], Results]] = {
    "benchmarks": _of_pytest,
    "measured": _of_throughput,
    "blocks": _of_search_speed,
}
