"""The page of all runs that are there."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from search_spaces import InputError
from studies.request import NO_PRUNER
from training import atomic_write_bytes

from .figure import draw
from .runs import (
    JOURNAL,
    Overhead,
    Simulated,
    SimulationRun,
    StorageRun,
    WorkersRun,
    load_simulations,
    load_storages,
    load_workers,
)

PAGE, FIGURE = "README.md", "scaling.png"
GOAL_MS, GOAL_TRIALS = 50.0, 1000
_EFFICIENT = 0.8
_NOTHING = "–"


def write_report(out: Path, command: str) -> str:
    """Writes the page and the figure into `out` and returns the page.

    Raises:
        InputError: there is no run, or a file holds none.
    """
    simulations, storages, workers = load_simulations(out), load_storages(out), load_workers(out)
    if not simulations and not storages and not workers:
        raise InputError(f"no runs in {out}: make some with python -m bench.scaling simulate, storages or workers")
    text = page(simulations, storages, workers, command)
    draw(simulations, storages, out / FIGURE)
    atomic_write_bytes(out / PAGE, text.encode())
    return text


def page(
    simulations: Sequence[SimulationRun], storages: Sequence[StorageRun], workers: Sequence[WorkersRun], command: str
) -> str:
    """The tables of the runs, and what they answer."""
    parts = [
        "# Past one worker and past this machine",
        _where(simulations, storages, workers, command),
        "## What it answers",
        "\n".join(f"- {line}" for line in answers(simulations, storages, workers)),
        f"![speedup, idle workers and decisions by workers; milliseconds a trial by storage]({FIGURE})",
    ]
    if workers:
        parts += ["## Workers of this machine", _workers_method(), *map(_workers, workers)]
    if simulations:
        parts += ["## Recorded studies, replayed", _simulation_method()]
        for group in _by_lanes(simulations):
            parts += [_heading(group[0]), _simulated(group)]
    if storages:
        parts += ["## What a trial takes beside its training", _storage_method(storages), _overheads(storages)]
    if simulations and storages:
        parts += ["## How many workers one driver keeps up with", _served_method(), _served(simulations, storages)]
    return "\n\n".join(parts) + "\n"


# --- where it was measured


def _where(
    simulations: Sequence[SimulationRun], storages: Sequence[StorageRun], workers: Sequence[WorkersRun], command: str
) -> str:
    runs: list[SimulationRun | StorageRun | WorkersRun] = [*simulations, *storages, *workers]
    commands = _distinct(f"`{run.command}`" for run in runs)
    versions = _distinct(
        ", ".join(f"{name} {version}" for name, version in run.environment["versions"].items()) for run in runs
    )
    servers = _distinct(f"{name} {version}" for run in storages for name, version in run.versions.items())
    lines = [
        f"command: `{command}`, of runs made with {commands}",
        f"versions: {versions}{f', {servers}' if servers else ''}; "
        f"commit {_distinct(run.environment['commit'] or 'none' for run in runs)}",
        f"machine: {_distinct(str(run.environment['device']) for run in runs)}; load average with this process "
        f"{min(run.load for run in runs):.1f} to {max(run.load for run in runs):.1f}",
    ]
    if simulations:
        studies = _distinct(f"{run.study} with `{run.study_command}`" for run in simulations)
        data = _distinct(f"{run.study} {run.source} {run.fingerprint}" for run in simulations)
        lines += [f"studies: {studies}", f"data: {data}"]
    return "\n".join(f"- {line}" for line in lines)


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))


# --- what it answers


def answers(
    simulations: Sequence[SimulationRun], storages: Sequence[StorageRun], workers: Sequence[WorkersRun]
) -> list[str]:
    """The questions of this benchmark, answered in sentences by the numbers of the runs."""
    lines = [line for run in workers for line in _answers_of_workers(run)]
    lines += [line for run in simulations if run.pruner == NO_PRUNER for line in _answers_of(run)]
    for storage in storages:
        if storage.storage == JOURNAL and (at := _at_goal(storage)) is not None:
            met = "met" if at.median <= GOAL_MS else "missed"
            lines.append(
                f"With {at.there} trials in a journal a trial takes {at.median:.1f} ms beside its training (median; "
                f"90 % take at most {at.slow:.1f} ms; {at.processor:.1f} ms are computing). "
                f"The goal of at most {GOAL_MS:g} ms is {met}."
            )
    return lines or ["Nothing yet: neither a search without a pruner nor a journal."]


def _answers_of_workers(run: WorkersRun) -> list[str]:
    *alone, several = _ways(run)
    return [
        f"{run.task}: {several[0]} workers do {_ratio(run, several, one):.2f} x the trials an hour of one worker with "
        f"{_threads_text(one[1])} (median of {_rounds(run)} rounds, each a ratio of its own)."
        for one in alone
    ]


def _ways(run: WorkersRun) -> list[tuple[int, int]]:
    """Workers and threads of the searches of a round, the most workers last."""
    return sorted({(each.workers, each.threads) for each in run.rounds})


def _rounds(run: WorkersRun) -> int:
    return len({each.turn for each in run.rounds})


def _ratio(run: WorkersRun, way: tuple[int, int], than: tuple[int, int]) -> float:
    """How many times the trials an hour, the median over rounds."""
    speeds = {(each.turn, each.workers, each.threads): each.per_hour for each in run.rounds}
    return statistics.median(
        speeds[turn, *way] / speeds[turn, *than] for turn in sorted({each.turn for each in run.rounds})
    )


def _threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _answers_of(run: SimulationRun) -> list[str]:
    one, most = run.simulated[0], run.simulated[-1]
    if one.workers != 1 or most is one:
        return []
    good = _last(run, lambda each: _speedup(each, one) >= _EFFICIENT * each.workers)
    assert good is not None
    where = f"{run.study}, {_lanes_text(run.lanes)}, without a pruner"
    return [
        f"{where}: up to {_workers_text(good)} are worth at least {_EFFICIENT:.0%} of their number; "
        f"{_workers_text(most)} are {_speedup(most, one):.3g} x as fast as one, and idle for {most.idle:.0%} of their "
        "time.",
        f"{where}: the scheduler answers {one.decisions_per_second:,.0f} events a second for one worker and "
        f"{most.decisions_per_second:,.0f} for {_workers_text(most)}; for these it thinks "
        f"{most.scheduler_load:.3g} s in each second of the search.",
    ]


def _last(run: SimulationRun, suits: Callable[[Simulated], bool]) -> Simulated | None:
    """The last number of workers up to which all suit."""
    return next(reversed(list(itertools.takewhile(suits, run.simulated))), None)


def _workers_text(simulated: Simulated) -> str:
    return "1 worker" if simulated.workers == 1 else f"{simulated.workers:,} workers"


def _lanes_text(lanes: int) -> str:
    return "one by one" if lanes == 1 else f"{lanes} side by side"


# --- workers of this machine


def _workers_method() -> str:
    return (
        "The same trials (strategy `plain`, drawn at random, without a pruner) with empty caches, each search a "
        "process of its own; searches take turns, and who begins rotates. The clock starts with the first trial and "
        "stops when the last one has ended, so that reading the photos is left out and what workers wait for each "
        "other at the end is not. Threads are those of all workers together."
    )


def _workers(run: WorkersRun) -> str:
    first, *_ = ways = _ways(run)
    rows = []
    for way in ways:
        speeds = [each.per_hour for each in run.rounds if (each.workers, each.threads) == way]
        spread = f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"
        rows.append([way[0], way[1], len(speeds), spread, f"{_ratio(run, way, first):.2f} x"])
    what = f"{run.trials} trials of {run.epochs} epochs on one backbone at {run.side} pixels, seed {run.seed}."
    return f"### {run.task}\n\n{what}\n\n" + _table(
        rows, ["workers", "threads", "rounds", "trials an hour", "x the first"]
    )


# --- the simulation


def _simulation_method() -> str:
    return (
        "Trials are drawn at random from those of a recorded study that came to their end, the same ones for every "
        "number of workers, and go through the scheduler of a real search (strategy `plain`); workers say what was "
        "recorded, after the recorded seconds, on a simulated clock. A trial takes its recorded share of its group's "
        "seconds, whoever trains beside it. Workers share nothing: each computes what a structure needs once by "
        "itself, and `work` is all that was trained and computed, in times of what one worker does. Sampler, storage "
        "and scheduler take no simulated time: the last three columns say what they would be asked. `idle` is the "
        "share of all workers' time, `at the end` the part of it after the last job was given out; `wasted` epochs are "
        "those of trials that were pruned later; `lost` is by how much the best trial that came to its end is worse "
        "than the best of all. `operations` are trials asked for, epochs of groups recorded and trials ended, in a "
        "simulated second; `decisions` the events that the scheduler answers in a real second on this machine; `load` "
        "the real seconds it takes for each simulated one, with more than 1 of which it keeps workers waiting."
    )


def _by_lanes(runs: Sequence[SimulationRun]) -> list[list[SimulationRun]]:
    keys = dict.fromkeys((run.study, run.lanes) for run in runs)
    return [[run for run in runs if (run.study, run.lanes) == key] for key in keys]


def _heading(run: SimulationRun) -> str:
    return (
        f"### {run.study}, {_lanes_text(run.lanes)}\n\n"
        f"{run.trials:,} trials of {run.epochs} epochs, drawn with seed {run.seed} from {run.recorded} trials "
        f"of {run.structures} structures."
    )


def _simulated(runs: Sequence[SimulationRun]) -> str:
    rows = [_row(run, one) for run in runs for one in run.simulated]
    headings = ["pruner", "workers", "seconds", "speedup", "work", "idle", "at the end"]
    headings += ["epochs", "wasted", "lost", "operations/s", "decisions/s", "load"]
    return _table(rows, headings)


def _row(run: SimulationRun, one: Simulated) -> list[object]:
    first = run.simulated[0]
    compared = first.workers == 1
    lost = _NOTHING if one.best is None else f"{abs(run.best - one.best):.4f}"
    return [
        run.pruner,
        f"{one.workers:,}",
        f"{one.makespan:,.2f}",
        f"{_speedup(one, first):.2f} x" if compared else _NOTHING,
        f"{one.busy / first.busy:.2f} x" if compared and first.busy else _NOTHING,
        f"{one.idle:.1%}",
        f"{one.idle_at_end:.1%}",
        f"{one.epochs:,}",
        f"{one.wasted:,}",
        lost,
        f"{one.operations_per_second:,.0f}",
        f"{one.decisions_per_second:,.0f}",
        f"{one.scheduler_load:.3f}",
    ]


def _speedup(simulated: Simulated, one: Simulated) -> float:
    return one.makespan / simulated.makespan if simulated.makespan else 1.0


# --- the storages


def _storage_method(storages: Sequence[StorageRun]) -> str:
    (first, *_) = storages
    return (
        f"A whole driver with an engine that answers at once: each of {len(first.measured[0].milliseconds)} trials of "
        f"{first.task}'s space is asked for (TPE), reported after each of {first.epochs} epochs, judged by "
        f"{first.pruner} after all but the last, and ended; made-up values that grow from trial to trial keep all from "
        "being pruned. The trials there are random configs that came to their end. `computed` is the time in which "
        "this process computed, which other work on the machine disturbs least; servers compute too. `the rest` has "
        "the waits for the disk, the verdicts that are kept of groups, and the scheduler. `opened` is how long a study "
        "takes to be opened; the first trial after that reads what is there and is not counted."
    )


def _overheads(storages: Sequence[StorageRun]) -> str:
    names = list(dict.fromkeys(part for run in storages for one in run.measured for part in one.parts))
    rows = []
    for run in storages:
        for one in run.measured:
            mean = sum(one.milliseconds) / len(one.milliseconds)
            rest = mean - sum(one.parts.values())
            parts = [f"{one.parts.get(name, 0.0):.1f}" for name in names]
            rows.append(
                [
                    run.storage,
                    f"{one.there:,}",
                    f"{one.opened:.2f}",
                    f"{one.median:.1f}",
                    f"{one.slow:.1f}",
                    f"{one.processor:.1f}",
                    *parts,
                    f"{rest:.1f}",
                    f"{one.operations_per_second:,.0f}",
                ]
            )
    headings = ["storage", "trials there", "opened, s", "ms a trial, median", "90 %", "computed, mean"]
    headings += [*(f"{name}, mean" for name in names), "the rest, mean", "operations/s"]
    return _table(rows, headings)


def _at_goal(storage: StorageRun) -> Overhead | None:
    """The measurement at the number of trials that goals are given for."""
    near = [one for one in storage.measured if abs(one.there - GOAL_TRIALS) <= GOAL_TRIALS / 10]
    return min(near, key=lambda one: abs(one.there - GOAL_TRIALS), default=None)


# --- both


def _served_method() -> str:
    return (
        f"Up to which of the simulated numbers of workers no more trials a second end than one driver gives and "
        f"records with about {GOAL_TRIALS:,} trials in the study, sampler and pruner on; most of that is asking, which "
        "a trial that is pruned needs too. Trials that take ten times as long leave room for ten times as many workers."
    )


def _served(simulations: Sequence[SimulationRun], storages: Sequence[StorageRun]) -> str:
    rows = []
    for run in simulations:
        row: list[object] = [run.study, _lanes_text(run.lanes), run.pruner]
        for storage in storages:
            at = _at_goal(storage)
            row.append(_NOTHING if at is None else _most_workers(run, at.trials_per_second))
        rows.append(row)
    return _table(rows, ["study", "trials", "pruner", *(storage.storage for storage in storages)])


def _most_workers(run: SimulationRun, trials: float) -> str:
    last = _last(run, lambda one: one.trials / one.makespan <= trials)
    return f"fewer than {run.simulated[0].workers}" if last is None else f"{last.workers:,}"


def _table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)
