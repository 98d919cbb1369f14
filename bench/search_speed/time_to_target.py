"""The second table: wall time until the first config that certainly passes the task's target, found by a search."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from search_spaces import Config, InputError, Task, task_named

from .job import Job
from .measure import Save, Watch
from .methods import OURS
from .process import Child, Sender
from .results import Results, Search

Passes = Callable[[float, int], bool]
Find = Callable[[Job, "Goal", Passes], tuple[float | None, int]]
"""Searches until a trial passes: seconds since the call, None where none did, and trials trained to their end."""


@dataclass(frozen=True)
class Goal:
    """A search passes when the 95 % Wilson bound of a trial's accuracy lies above `target`; it has `trials` to try."""

    fixed: Config
    target: float
    trials: int
    seed: int


@dataclass(frozen=True)
class Searcher:
    """A tool with its own sampler and pruner."""

    name: str
    title: str
    find: Find


def find_ours(job: Job, goal: Goal, passes: Passes) -> tuple[float | None, int]:
    from studies import SearchRequest, prepare_search

    started = time.monotonic()
    complete = 0
    with tempfile.TemporaryDirectory() as folder:
        request = SearchRequest(
            task=job.task,
            data=str(job.data),
            weights_dir=job.weights_dir,
            study="target",
            storage=str(Path(folder) / "journal.log"),
            trials=goal.trials,
            epochs=job.epochs,
            seed=goal.seed,
            strategy="plain",
            device=job.device,
            fixed=goal.fixed,
        )
        for outcome in prepare_search(request, lambda note: None).run(lambda progress: None):
            result = outcome.result
            complete += result.state == "complete"
            if result.state == "complete" and result.value is not None and passes(result.value, result.n):
                return time.monotonic() - started, complete
    return None, complete


def find_optuna(job: Job, goal: Goal, passes: Passes) -> tuple[float | None, int]:
    from bench.peers import optuna_processes

    task = _narrowed(job, goal)
    return optuna_processes.search(
        task.space, task.recipe, job.data, job.weights_dir, job.epochs, goal.trials, passes, goal.seed
    )


def find_ray(job: Job, goal: Goal, passes: Passes) -> tuple[float | None, int]:
    from bench.peers import ray_tune

    task = _narrowed(job, goal)
    return ray_tune.search(
        task.space, task.recipe, job.data, job.weights_dir, job.epochs, goal.trials, passes, goal.seed
    )


SEARCHERS = (
    Searcher("optuna", "Optuna: TPE and Hyperband, a process a trial", find_optuna),
    Searcher("ray", "Ray Tune: random search and ASHA, actors reused", find_ray),
    Searcher(OURS, "ours: TPE and Hyperband", find_ours),
)


def goal_of(task: Task, fixed: Config, target: float | None, trials: int, seed: int) -> Goal:
    """Raises InputError where neither the task nor the caller names a target."""
    if target is None and task.target is None:
        raise InputError(f"task {task.name} has no target: give one with --target")
    value = target if target is not None or task.target is None else task.target.value
    assert value is not None
    return Goal(fixed, value, trials, seed)


def search_in_a_process(searcher: Searcher, job: Job, goal: Goal) -> Search:
    """The search's seconds count from the start of its process."""
    with tempfile.TemporaryDirectory(prefix="pomona-search-speed-") as folder:
        # This clock is one for all processes of the machine.
        child = Child(_find, (searcher, job, goal, time.monotonic()), Path(folder))
        patience = 0
        try:
            seconds, complete = child.receive()
            patience = 30
        finally:
            child.close(patience)
    return Search(searcher.name, goal.seed, seconds, complete)


def measure_searches(
    job: Job,
    goals: Sequence[Goal],
    results: Results,
    save: Save,
    watch: Watch,
    searchers: Sequence[Searcher] = SEARCHERS,
    search: Callable[[Searcher, Job, Goal], Search] = search_in_a_process,
) -> None:
    """One search of each tool for every goal, each in a clean process; the order rotates with the seed."""
    done = {(search.method, search.seed) for search in results.searches}
    for turn, goal in enumerate(goals):
        first = turn % len(searchers)
        for searcher in (*searchers[first:], *searchers[:first]):
            if (searcher.name, goal.seed) in done:
                continue
            watch.begins(searcher.name, f"search with seed {goal.seed}")
            results.searches.append(search(searcher, job, goal))
            save(results)


def _find(parent: Sender, searcher: Searcher, job: Job, goal: Goal, started: float) -> None:
    from training import wilson

    before = time.monotonic() - started
    seconds, complete = searcher.find(job, goal, lambda accuracy, n: wilson(accuracy, n).low > goal.target)
    parent.send((None if seconds is None else before + seconds, complete))


def _narrowed(job: Job, goal: Goal) -> Task:
    """The task as ours searches it: all tools have one space and begin with one config."""
    from training import runnable

    return runnable(task_named(job.task), goal.fixed, weights_dir=job.weights_dir, download=False).task
