"""The figure: a search by its workers, and what a trial takes by the storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.machine.files import atomic_path

from .runs import Simulated, SimulationRun, StorageRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = ("-", "--", ":", "-.")


def draw(simulations: Sequence[SimulationRun], storages: Sequence[StorageRun], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    (speedup, idle), (decisions, overhead) = figure.subplots(2, 2)
    _by_workers(speedup, simulations, _speedups, "times as fast as one worker")
    workers = sorted({one.workers for run in simulations for one in run.simulated})
    if workers:
        speedup.plot(workers, workers, color="grey", linewidth=1, label="as many times as workers")
        speedup.set(yscale="log")
        speedup.legend(fontsize="small")
    _by_workers(idle, simulations, _idle, "idle, % of all workers' time")
    _by_workers(decisions, simulations, _decisions, "events that the scheduler answers a second")
    decisions.set(yscale="log")
    _overheads(overhead, storages)
    with atomic_path(file) as path:
        figure.savefig(path, format="png", dpi=110)


def _speedups(run: SimulationRun) -> list[float]:
    first: Simulated = run.simulated[0]
    return [first.workers * first.makespan / one.makespan if one.makespan else 1.0 for one in run.simulated]


def _idle(run: SimulationRun) -> list[float]:
    return [100 * one.idle for one in run.simulated]


def _decisions(run: SimulationRun) -> list[float]:
    return [one.decisions_per_second for one in run.simulated]


def _by_workers(
    axes: Axes, runs: Sequence[SimulationRun], values: Callable[[SimulationRun], list[float]], title: str
) -> None:
    pruners = list(dict.fromkeys(run.pruner for run in runs))
    series = list(dict.fromkeys((run.study, run.lanes) for run in runs))
    for run in runs:
        axes.plot(
            [one.workers for one in run.simulated],
            values(run),
            color=f"C{pruners.index(run.pruner)}",
            linestyle=_DASHES[series.index((run.study, run.lanes)) % len(_DASHES)],
            label=f"{run.study}, {run.lanes} side by side, {run.pruner}",
        )
    axes.set(xscale="log", xlabel="workers", ylabel=title)
    axes.grid(visible=True, alpha=0.3)


def _overheads(axes: Axes, storages: Sequence[StorageRun]) -> None:
    for place, run in enumerate(storages):
        width = 0.8 / len(storages)
        at = [number + place * width for number in range(len(run.measured))]
        axes.bar(at, [one.median for one in run.measured], width, label=run.storage)
    sizes = [f"{one.there:,}" for one in storages[0].measured] if storages else []
    axes.set_xticks([number + 0.4 for number in range(len(sizes))], sizes)
    axes.set(xlabel="trials in the study", ylabel="ms a trial beside its training, median")
    if storages:
        axes.legend(fontsize="small")
