"""Makes the runs that are not there yet, one after the other, each from a cold start."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from search_spaces import InputError, task_named
from training import environment
from training.machine.decode import decoded
from training.machine.device import describe_device
from training.machine.environment import commit
from training.machine.files import atomic_write_json

from . import pomona_runs
from .held_back import HeldBack, hold_back
from .job import PYTHON, Answer, Job, kill_all, started
from .peers import FINDERS
from .pomona_runs import ROOT
from .runs import Point, Run, load_run, run_path, save_run

# Peers end by themselves at their deadline, and then score what they kept.
_PATIENCE = 3600.0


@dataclass(frozen=True)
class Plan:
    """Which runs there are to be. `data` holds a folder a task; `earlier` is the commit of `before`."""

    tasks: tuple[str, ...]
    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    seconds: float
    epochs: int
    data: Path
    weights_dir: Path
    out: Path
    earlier: str
    scored: bool = True

    @property
    def work(self) -> Path:
        """What need not be kept: links to photos, studies, caches, the earlier tree."""
        return self.out / "scratch"

    def order(self) -> list[tuple[str, str, int]]:
        """Task, system and seed of every run: all tasks of a seed before the next seed, systems in turn."""
        found = []
        for turn, seed in enumerate(self.seeds):
            first = turn % len(self.systems)
            for task in self.tasks:
                found += [(task, system, seed) for system in (*self.systems[first:], *self.systems[:first])]
        return found


def measure(
    plan: Plan, say: Callable[[str], None], make: Callable[[Job, Plan], Answer] | None = None
) -> list[tuple[str, str, int]]:
    """Makes what is missing and returns the keys of the runs that were made; each is kept as soon as it is done.

    Raises:
        InputError: the photos can't be read, or there are runs of other settings.
    """
    make = make or run_system
    held = {task: hold_back(plan.data / task, plan.work / "data" / task) for task in plan.tasks}
    left = [key for key in plan.order() if not _is_there(plan, key, held[key[0]])]
    made = []
    for place, key in enumerate(left):
        minutes = (len(left) - place) * plan.seconds / 60
        say(f"{' '.join(map(str, key))}: run {place + 1} of {len(left)}, about {minutes:.0f} min left")
        job = _job(plan, key, held[key[0]])
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True)
        commit.cache_clear()  # the tree may have gone on since the run before, and may go on during this one
        commit()
        run = _run(job, make(job, plan), held[key[0]])
        save_run(plan.out, run)
        made.append(key)
        if not run.pending:
            _clear(job)
        if run.failure:
            say(f"it failed: {run.failure}")
    if plan.scored:
        _score(plan, held, say)
    return made


def _is_there(plan: Plan, key: tuple[str, str, int], held: HeldBack) -> bool:
    path = run_path(plan.out, *key)
    if not path.is_file():
        return False
    run = load_run(path)
    for name, before, now in (
        ("number of seconds", run.seconds, plan.seconds),
        ("number of epochs", run.epochs, plan.epochs),
        ("fingerprint of photos", run.data["fingerprint"], held.fingerprint),
        ("machine", run.environment["device"], describe_device(torch.device("cpu"))),
    ):
        if before != now:
            raise InputError(f"{path} is of another {name} ({before}, not {now}): choose another --out")
    return not run.failure


def _job(plan: Plan, key: tuple[str, str, int], held: HeldBack) -> Job:
    task, system, seed = key
    return Job(
        task=task,
        system=system,
        seed=seed,
        seconds=plan.seconds,
        epochs=plan.epochs,
        searched=held.searched.resolve(),
        whole=held.whole.resolve(),
        weights_dir=plan.weights_dir.resolve(),
        folder=(plan.work / "-".join(map(str, key))).resolve(),
    )


def run_system(job: Job, plan: Plan) -> Answer:
    """One run of one system, in processes of its own."""
    if job.system not in FINDERS:
        return pomona_runs.search(job, pomona_runs.tree_of(job.system, plan.earlier, plan.work.resolve()))
    job_file, answer_file = job.folder / "job.json", job.folder / "answer.json"
    job = replace(job, started=time.time())
    atomic_write_json(job_file, asdict(job))
    command = [PYTHON, "-m", "bench.anytime.peers", str(job_file), str(answer_file)]
    with (job.folder / "output.txt").open("wb") as output:
        # What tools print about themselves is not for the one who waits for the answer.
        process = started(command, job, ROOT, output)
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            try:
                code = process.wait(job.seconds + _PATIENCE)
            finally:
                kill_all(process)
    ended = time.time() - job.started
    said = (job.folder / "output.txt").read_text(errors="replace").strip().splitlines()
    failure = "" if code == 0 else f"exit code {code}: {said[-1] if said else ''}"
    if code is None:
        failure = f"it was not done {_PATIENCE:g} s after its time"
    points = decoded(json.loads(answer_file.read_bytes()), tuple[Point, ...]) if code == 0 else ()
    return Answer(points, ended, f"python -m bench.anytime.peers ({job.system})", commit(), False, failure)


def _run(job: Job, answer: Answer, held: HeldBack) -> Run:
    found = environment(torch.device("cpu"))
    return Run(
        task=job.task,
        system=job.system,
        seed=job.seed,
        seconds=job.seconds,
        epochs=job.epochs,
        points=answer.points,
        ended=round(answer.ended, 3),
        command=answer.command,
        environment=found | {"commit": answer.commit},
        data={"task": task_named(job.task).title, "fingerprint": held.fingerprint},
        pending=answer.pending,
        failure=answer.failure,
        notes=answer.notes,
    )


def _score(plan: Plan, held: dict[str, HeldBack], say: Callable[[str], None]) -> None:
    """Scores ours on the part that was held back, outside of all clocks, where that was not done yet."""
    for key in plan.order():
        path = run_path(plan.out, *key)
        if not path.is_file() or not (run := load_run(path)).pending:
            continue
        say(f"{' '.join(map(str, key))}: scoring what was best at the marks on the part that was held back")
        job = _job(plan, key, held[key[0]])
        tree = pomona_runs.tree_of(key[1], plan.earlier, plan.work.resolve())
        save_run(plan.out, pomona_runs.score(job, tree, run))
        _clear(job)


def _clear(job: Job) -> None:
    """Removes what may take gigabytes and nobody needs any more; studies and what was said stay."""
    for name in ("cache", "inductor", "search"):
        shutil.rmtree(job.folder / name, ignore_errors=True)


def to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def unknown(names: Sequence[str], known: Sequence[str], what: str) -> None:
    """Raises InputError where one of `names` is not known."""
    for name in names:
        if name not in known:
            raise InputError(f"unknown {what} {name!r}: there is {', '.join(known)}")
