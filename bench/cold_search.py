"""What does `pomona search` with its default options have, and when?

    python -m bench.cold_search TASK --data DIR [--weights-dir DIR] [--seconds 60] [--seeds 0,1,2] [--device auto]
        [--elsewhere DIR [--retrain 0,1,2]] [--out FOLDER]

Every search is a process of its own with an empty cache, on the device that training takes; its clock starts with the
process. With `--elsewhere` its winner and its ensemble are trained again with other seeds and scored on photos by
other people, whom nothing is chosen by. A search is kept in a file of FOLDER/runs, one that is there is not made again,
and FOLDER/README.md is the page of all that are.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported.
    configure()

from tabulate import tabulate

from search_spaces import InputError
from studies import open_study
from studies.cost_report import Accuracy, accuracy_of, costs_of_groups
from studies.names import ENSEMBLE
from studies.trial_times import end_times
from training import atomic_write_bytes, environment, resolve_device, write_versioned_json
from training.machine.decode import decoded

from .anytime.runs import Point, best_at

OUT = Path("results/cold_search")
WINNER = "winner"
_STUDY = "cold"
_MARKS = (10.0, 15.0, 20.0, 30.0, 60.0, 180.0, 600.0)
# Seconds that a search gets beyond its time before it counts as hung: reading, confirming and going home.
_GRACE = 120.0
_CODE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Trained:
    """The winner or the ensemble, trained again: accuracy in 0..1 on `valid` and on photos by others, each with the
    95 % interval by photos, and `by_group` with that by groups of photos."""

    what: str
    seed: int
    seconds: float
    valid: float
    elsewhere: float
    ci95: tuple[float, float]
    by_group: float | None
    groups_ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Search:
    """One search. Seconds count from the start of its process; `trials` are those that ran to their end.

    `winner` is the config of the leaderboard's first trial, `ensemble` the weights of its trials by number, both JSON.
    """

    task: str
    seconds: float
    seed: int
    command: str
    environment: dict[str, Any]
    data: str
    numerics: str
    ended: float
    trials: int
    points: tuple[Point, ...]
    winner: str
    confirmed: float | None
    confirmed_seeds: int
    costs: Accuracy | None
    said: tuple[str, ...]
    trained: tuple[Trained, ...]
    ensemble: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1, and one line, where a search fails or something it is given is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cold_search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=60.0, help="that each search gets; default: 60")
    parser.add_argument("--seeds", type=_numbers, default=[0], metavar="K,...", help="of the searches; default: 0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--elsewhere", type=Path, metavar="DIR", help="photos by others, without splits")
    parser.add_argument("--retrain", type=_numbers, default=[0], metavar="K,...", help="seeds; default: 0")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    arguments = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(arguments)
    try:
        for seed in options.seeds:
            file = options.out / "runs" / f"{options.task}-{options.seconds:g}s-{seed}.json"
            if not file.exists():
                write_versioned_json(file, asdict(searched(options, seed, shlex.join(arguments))))
            text = page([load(file) for file in sorted((options.out / "runs").glob("*.json"))])
            atomic_write_bytes(options.out / "README.md", text.encode())
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(text)
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def load(file: Path) -> Search:
    """Raises InputError where the file holds no search of this benchmark."""
    try:
        return decoded(json.loads(file.read_bytes()), Search)
    except (OSError, ValueError) as problem:
        raise InputError(f"{file} holds no search of this benchmark ({problem}): remove it") from None


def searched(options: argparse.Namespace, seed: int, arguments: str) -> Search:
    """One search, and what its winner is worth."""
    with tempfile.TemporaryDirectory(prefix="cold-search-") as name:
        folder = Path(name)
        common = ["--data", str(options.data.resolve()), "--device", options.device]
        if options.weights_dir is not None:
            common += ["--weights-dir", str(options.weights_dir.resolve())]
        asked = ["--study", _STUDY, "--timeout", f"{options.seconds:g}s", "--seed", str(seed)]
        began = time.time()
        done = _pomona(folder, ["search", options.task, *common, *asked], options.seconds + _GRACE)
        ended = time.time() - began
        if done.returncode != 0:
            raise InputError(f"the search failed ({done.returncode}): {_last(done.stderr)}")
        study = open_study(_STUDY, str(_storage(folder)))
        records, times = study.records(), end_times(study)
        rows = json.loads(_answer(folder, ["leaderboard", _STUDY, "--ensemble", "--json"]))
        ensembles = [row for row in rows if row["state"] == ENSEMBLE]
        first = next(row for row in rows if row["rank"] == 1)
        points = tuple(
            Point(times[record.number] - began, record.value, record.n, f"trial {record.number}")
            for record in records
            if record.value is not None and record.state == "complete" and record.confirms is None
        )
        return Search(
            task=options.task,
            seconds=options.seconds,
            seed=seed,
            command=f"python -m bench.cold_search {arguments}",
            environment=environment(resolve_device(options.device)),
            data=f"{study.settings.source} {study.settings.fingerprint}",
            numerics=str(study.settings.numerics),
            ended=ended,
            trials=len(points),
            points=tuple(sorted(points, key=lambda point: point.seconds)),
            winner=json.dumps(first["params"]),
            confirmed=first["confirmed_mean"],
            confirmed_seeds=first["confirmed_seeds"],
            costs=accuracy_of(costs_of_groups(records)),
            said=tuple(
                line.replace(str(folder), "FOLDER")
                for line in done.stderr.splitlines()
                if not line.startswith("trial ")
            ),
            trained=tuple(_trained(options, folder, common[2:], bool(ensembles))),
            ensemble=json.dumps(ensembles[0]["params"]) if ensembles else "",
        )


def _trained(options: argparse.Namespace, folder: Path, common: list[str], ensemble: bool) -> list[Trained]:
    found = []
    for what in (WINNER, ENSEMBLE) if options.elsewhere is not None else ():
        if what == ENSEMBLE and not ensemble:
            continue
        for seed in options.retrain:
            asked = ["--from-study", _STUDY, "--seed", str(seed), "--out", f"{what}-{seed}"]
            asked += ["--trial", ENSEMBLE] if what == ENSEMBLE else []
            began = time.time()
            model = json.loads(_answer(folder, ["train", options.task, *asked, *common, "--json"]))
            seconds = time.time() - began
            score = json.loads(
                _answer(folder, ["evaluate", f"{what}-{seed}", "--data", str(options.elsewhere.resolve()), "--json"])
            )
            found.append(
                Trained(
                    what,
                    seed,
                    seconds,
                    model["value"],
                    score["accuracy"],
                    score["ci95"],
                    score.get("group_accuracy"),
                    score.get("groups_ci95"),
                )
            )
    return found


def _answer(folder: Path, arguments: Sequence[str]) -> str:
    done = _pomona(folder, arguments, None)
    if done.returncode != 0:
        raise InputError(f"pomona {arguments[0]} failed ({done.returncode}): {_last(done.stderr)}")
    return done.stdout


def _pomona(folder: Path, arguments: Sequence[str], seconds: float | None) -> subprocess.CompletedProcess[str]:
    """Runs a command of pomona's on the study in `folder`, with a cache that is there alone."""
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_CODE), os.environ.get("PYTHONPATH", "")))),
        "POMONA_CACHE": str(folder / "cache"),
        "POMONA_STORAGE": str(_storage(folder)),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    command = [sys.executable, "-m", "pomona", *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"pomona {arguments[0]} was still running after {seconds:.0f} s") from None


def _storage(folder: Path) -> Path:
    return folder / "journal.log"


def _last(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


def page(searches: Sequence[Search]) -> str:
    """The tables of all searches."""
    marks = [mark for mark in _MARKS if any(search.seconds >= mark for search in searches)]
    about = list(dict.fromkeys(_about(search) for search in searches))
    text = (
        "# Searches with default options from a cold start\n\n"
        + "".join(about)
        + "\nThe best accuracy on `valid` (%) of a trial that had ended after so many seconds, counted from the start "
        "of the process; the first trial's seconds; and the mean of the winner on fresh seeds, of so many.\n\n"
        + tabulate(
            [_curve(search, marks) for search in searches],
            ["search", "trials", "ended, s", "first, s", *(f"{mark:g} s" for mark in marks), "fresh seeds"],
            tablefmt="github",
        )
        + "\n\nPredicted seconds of groups of trials against those they took: the median of |predicted / true - 1|, "
        "and the median of predicted / true.\n\n"
        + tabulate(
            [
                [_name(one), one.costs.groups, f"{one.costs.error:.0%}", one.costs.drift]
                for one in searches
                if one.costs
            ],
            ["search", "groups", "error", "drift"],
            tablefmt="github",
            floatfmt=".2f",
        )
        + "\n"
    )
    return text + _elsewhere(searches)


def _elsewhere(searches: Sequence[Search]) -> str:
    rows: list[list[Any]] = []
    for search in searches:
        for what in dict.fromkeys(one.what for one in search.trained):
            models = [one for one in search.trained if one.what == what]
            rows += [[_name(search), what, one.seed, *_shares(one)] for one in models]
            if len(models) > 1:
                means = (statistics.fmean(one.valid for one in models), statistics.fmean(o.elsewhere for o in models))
                groups = [one.by_group for one in models if one.by_group is not None]
                by_group = f"{100 * statistics.fmean(groups):.1f}" if groups else ""
                rows.append([_name(search), what, "mean", *(f"{100 * mean:.1f}" for mean in means), "", by_group, ""])
    if not rows:
        return ""
    columns = ["search", "model", "seed", "valid", "elsewhere", "95 %", "by groups", "95 % by groups"]
    return (
        "\nTrained again with other seeds, and scored on photos by other people (%):\n\n"
        + tabulate(rows, columns, tablefmt="github")
        + "\n"
    )


def _shares(one: Trained) -> list[str]:
    by_group = "" if one.by_group is None else f"{100 * one.by_group:.1f}"
    groups = "" if one.groups_ci95 is None else _interval(one.groups_ci95)
    return [f"{100 * one.valid:.2f}", f"{100 * one.elsewhere:.1f}", _interval(one.ci95), by_group, groups]


def _interval(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def _about(search: Search) -> str:
    machine: Mapping[str, Any] = search.environment
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"- `{search.command}`: {machine['device']}, {machine['threads']} threads; {search.numerics}; {search.data}; "
        f"python {machine['python']}, {versions}; commit {machine['commit'] or 'none'}\n"
    )


def _name(search: Search) -> str:
    return f"{search.task}, {search.seconds:g} s, seed {search.seed}"


def _curve(search: Search, marks: Sequence[float]) -> list[Any]:
    best = [best_at(search.points, mark) if mark <= search.seconds else None for mark in marks]
    fresh = "" if search.confirmed is None else f"{100 * search.confirmed:.2f} ({search.confirmed_seeds})"
    first = f"{search.points[0].seconds:.1f}" if search.points else ""
    values = ["" if point is None else f"{100 * point.value:.2f}" for point in best]
    return [_name(search), search.trials, f"{search.ended:.0f}", first, *values, fresh]


if __name__ == "__main__":
    raise SystemExit(main())
