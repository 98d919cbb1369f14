"""The systems that are `pomona search` itself, of this tree or of an earlier commit, with its default options."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from search_spaces import InputError
from studies import open_study
from studies.names import ENSEMBLE
from studies.trial_times import end_times
from training.machine.environment import commit

from .job import PYTHON, Answer, Job, cold, kill_all, started
from .runs import BEFORE, Point, Run, Score, at_marks

ROOT = Path(__file__).resolve().parents[2]
STUDY = "anytime"
# A search's time is that of its trials; reading the data and going home come on top.
_GRACE = 60.0


def tree_of(system: str, earlier: str, work: Path) -> Path:
    """The code of a system: this tree, or a clone of it at the commit `earlier`, made once below `work`.

    Raises:
        InputError: this is no checkout, or it has no such commit.
    """
    if system != BEFORE:
        return ROOT
    tree = work / f"tree-{earlier}"
    if not tree.is_dir():
        temporary = work / f".tree-{earlier}-{time.time_ns()}"
        work.mkdir(parents=True, exist_ok=True)
        _git("clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(temporary))
        _git("-C", str(temporary), "checkout", "--quiet", "--detach", earlier)
        temporary.rename(tree)
    return tree


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        said = problem.stderr.strip().splitlines() if isinstance(problem, subprocess.CalledProcessError) else []
        raise InputError(f"no tree of the earlier commit: {said[-1] if said else problem}; see --before") from None
    return done.stdout.strip()


def search(job: Job, tree: Path) -> Answer:
    """One search from a cold start; what its trials were worth on the part that was held back is `pending`."""
    arguments = ["search", job.task, "--data", str(job.searched), "--weights-dir", str(job.weights_dir)]
    arguments += ["--study", STUDY, "--storage", str(_storage(job)), "--seed", str(job.seed)]
    arguments += ["--timeout", f"{job.seconds:g}s"]
    with (job.folder / "search.txt").open("wb") as output:
        job = replace(job, started=time.time())
        process = started([PYTHON, "-m", "pomona", *arguments], job, tree, output)
        try:
            code = _wait(process, job.seconds + _GRACE)
        finally:
            kill_all(process)
        ended = time.time() - job.started
    said = (job.folder / "search.txt").read_text(errors="replace").strip().splitlines()
    failure = f"exit code {code}: {said[-1] if said else ''}" if code else ""
    notes = (f"stopped {_GRACE:g} s after its time",) if code is None else ()
    command = f"pomona search {job.task} --data DIR --weights-dir DIR --timeout {job.seconds:g}s --seed {job.seed}"
    try:
        points = _points(job)
    except InputError as problem:
        # Where it ended before its study was made, it has said why.
        points, failure = (), failure or str(problem)
    revision = commit() if tree == ROOT else _git("-C", str(tree), "rev-parse", "--short=10", "HEAD")
    return Answer(points, ended, command, revision, pending=bool(points), failure=failure, notes=notes)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code; None of a search that went on for longer, and was asked to stop, as by Ctrl-C."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None


def _storage(job: Job) -> Path:
    return job.folder / "journal.log"


def _points(job: Job) -> tuple[Point, ...]:
    """The trials that ran to their end in the time. Those that were under way then count as little as the peers'."""
    study = open_study(STUDY, str(_storage(job)))
    times, records = end_times(study), study.records()
    points = []
    for record in records:
        if record.value is None or record.confirms is not None:
            continue
        if record.state == "complete" and record.number in times:
            name = f"trial {record.number}"
            points.append(Point(times[record.number] - job.started, record.value, record.n, name))
    return tuple(sorted((point for point in points if point.seconds <= job.seconds), key=lambda point: point.seconds))


def score(job: Job, tree: Path, run: Run) -> Run:
    """`run` with its marks' models and what its leaderboard names, trained again and scored on the part that was held
    back: trials with seed 0, an ensemble with the search's."""
    if not _storage(job).is_file():
        return run  # made elsewhere: the study is there
    notes = list(run.notes)
    winner, ensemble = None, None
    try:
        winner, ensemble = _named(job, tree, run)
    except (InputError, KeyError, ValueError) as problem:
        notes.append(f"its leaderboard names nothing: {problem}")
    wanted = {point.what for point in (*at_marks(run.points, run.seconds), winner, ensemble) if point is not None}
    scores: dict[str, Score] = {}
    for what in sorted(wanted):
        try:
            scores[what] = _trained_and_scored(job, tree, what.removeprefix("trial "))
        except (InputError, KeyError, ValueError) as problem:
            notes.append(f"{what} was not scored: {problem}")

    def scored(point: Point) -> Point:
        return replace(point, test=scores[point.what]) if point.what in scores else point

    return replace(
        run,
        points=tuple(map(scored, run.points)),
        pending=False,
        notes=tuple(notes),
        winner=winner and scored(winner),
        ensemble=ensemble and scored(ensemble),
    )


def _named(job: Job, tree: Path, run: Run) -> tuple[Point | None, Point | None]:
    """The first trial of the leaderboard, which is what `train --from-study` takes, and its ensemble, if it has one."""
    said = _answer(job, tree, ["leaderboard", STUDY, "--storage", str(_storage(job)), "--ensemble", "--json"])
    rows = json.loads(said)
    named: dict[str, Point] = {}
    for row in rows:
        ensemble = row["state"] == ENSEMBLE
        if ensemble or row["rank"] == 1:
            what = ENSEMBLE if ensemble else f"trial {row['number']}"
            named[ENSEMBLE if ensemble else "winner"] = Point(run.ended, row["value"], row["n"], what)
    return named.get("winner"), named.get(ENSEMBLE)


def _trained_and_scored(job: Job, tree: Path, trial: str) -> Score:
    checkpoint = job.folder / f"model-{trial}"
    trained = checkpoint.with_suffix(".trained")
    if not trained.exists():
        arguments = ["train", job.task, "--from-study", STUDY, "--trial", trial]
        arguments += [] if trial == ENSEMBLE else ["--seed", "0"]
        arguments += ["--storage", str(_storage(job)), "--data", str(job.searched)]
        _answer(job, tree, [*arguments, "--weights-dir", str(job.weights_dir), "--out", str(checkpoint)])
        trained.touch()
    arguments = ["evaluate", str(checkpoint), "--data", str(job.whole), "--split", "test"]
    found = json.loads(_answer(job, tree, [*arguments, "--json"]))
    return Score(found["accuracy"], found["n"])


def _answer(job: Job, tree: Path, arguments: Sequence[str]) -> str:
    command = [PYTHON, "-m", "pomona", *arguments]
    done = subprocess.run(command, cwd=job.folder, env=cold(job, tree), capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise InputError(f"{shlex.join(arguments[:1])} failed: {said[-1] if said else done.returncode}")
    return done.stdout
