"""The page and the figure of all runs that are there."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from search_spaces import InputError
from training import atomic_write_bytes
from training.machine.files import atomic_path
from training.scoring.intervals import Estimate, wilson

from .figures import (
    SpeedUp,
    Spread,
    below_probe,
    changes,
    curve,
    ended_with,
    marks_of,
    median_ratio,
    speed_ups,
    spread,
    value_at,
)
from .runs import BEFORE, OPTUNA, OURS, PROBE, RAY, SYSTEMS, Run, load_runs

PAGE, FIGURE = "README.md", "anytime.png"
_NOTHING = "–"
_SHORT = {OPTUNA: "(a)", RAY: "(b)", PROBE: "(c)", BEFORE: "(d)", OURS: "(e)"}


def write_report(out: Path, command: str) -> str:
    """Writes the page and the figure into `out` and returns the page.

    Raises:
        InputError: there is no run, a file holds none, or runs that are compared are of different machines.
    """
    runs = load_runs(out)
    if not runs:
        raise InputError(f"no runs in {out}: make some with python -m bench.anytime run --out {out}")
    _check_machines(runs)
    text = page(runs, command)
    draw(runs, out / FIGURE)
    atomic_write_bytes(out / PAGE, text.encode())
    return text


def _check_machines(runs: Sequence[Run]) -> None:
    """Raises InputError where the systems of a task and seed had different machines, or numbers of threads."""
    devices: dict[tuple[str, int], dict[str, str]] = {}
    for run in runs:
        devices.setdefault((run.task, run.seed), {})[str(run.environment["device"])] = run.system
    for (task, seed), found in devices.items():
        if len(found) > 1:
            told = "; ".join(f"{system} on {device}" for device, system in found.items())
            raise InputError(f"runs of {task}, seed {seed}, can't be compared ({told}): make some of them again")


def page(runs: Sequence[Run], command: str) -> str:
    good = [run for run in runs if not run.failure]
    parts = [
        "# The best model so far, against time",
        _method(),
        _where(runs, command),
        "## What it answers",
        "\n".join(f"- {line}" for line in answers(good)),
        f"![best value on valid so far, by task]({FIGURE})",
        "## Accuracy on `valid` at the marks",
        "Per cent: median over seeds (least to largest). A dash: no model yet, or no such score.\n\n" + _marks(good),
        "## The same models on the part of `train` that was held back",
        _marks(good, test=True),
        "## How soon ours is where the peers are at their end",
        _speed_ups(good),
        "## Where ours is below the probe",
        _below(good),
    ]
    if failures := [run for run in runs if run.failure or run.notes]:
        lines = [
            f"- {' '.join(map(str, run.key))}: {'; '.join([run.failure, *run.notes]).strip('; ')}" for run in failures
        ]
        parts += ["## Runs that failed, and what was not as planned", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _method() -> str:
    systems = "\n".join(f"- {title}" for title in SYSTEMS.values())
    return (
        "Each run is a fresh process with empty caches (of ours and of torch's compiler; files may be in the memory of "
        "the operating system), and its clock starts before the process does: imports and decoding count. A model "
        "counts from the moment in which its trial had ended; trials that were pruned, or still trained when the time "
        "was up, do not count. A fifth of every task's `train`, by group, was held back from all systems; the best "
        "models are scored on it outside the clock: those of the peers as they were, those of ours trained again with "
        "seed 0. Beside the trial with the best value, which among hundreds may be the luckiest, stand the winner that "
        "ours names after it has trained the best ones again on fresh seeds, and its ensemble. The peers begin at "
        "random, in the task's whole space but for its backbones, as the expert's loop knows one; ours begins without "
        "its shipped portfolio, which was found on some of these tasks. That loop computes in bf16 where the processor "
        f"does, else in fp32.\n\n{systems}"
    )


def _where(runs: Sequence[Run], command: str) -> str:
    def distinct(values: Sequence[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    def versions(run: Run) -> str:
        found = ", ".join(f"{name} {version}" for name, version in run.environment["versions"].items())
        return f"python {run.environment['python']}, {found}"

    commits = sorted(f"{run.environment['commit'] or 'none'} ({run.task}, {run.system})" for run in runs)
    photos = [f"{run.task}, fingerprint {run.data['fingerprint']}" for run in runs]
    ours = next((run.command for run in runs if run.system == OURS), "no run")
    lines = [
        f"command: `{command}`, of runs made with `python -m bench.anytime run`",
        f"commits: {distinct(commits)}",
        f"machine: {_machines(runs)}",
        f"versions: {distinct([versions(run) for run in runs])}",
        f"photos: {distinct(photos)}",
        f"runs: {len(runs)}, of {distinct([f'{run.seconds:g}' for run in runs])} s, "
        f"seeds {distinct([str(run.seed) for run in runs])}",
        f"ours as a command: `{ours}`; a full trial of the peers has "
        f"{distinct([str(run.epochs) for run in runs])} epochs",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _machines(runs: Sequence[Run]) -> str:
    """Their names; of several, each with the tasks and seeds that ran on it."""
    on: dict[str, dict[str, None]] = {}
    for run in runs:
        on.setdefault(str(run.environment["device"]), {})[f"{run.task} {run.seed}"] = None
    if len(on) == 1:
        return next(iter(on))
    told = [f"{device} ({', '.join(sorted(ran))})" for device, ran in on.items()]
    return f"{'; '.join(told)}; all systems of a task and seed ran on one machine"


def answers(runs: Sequence[Run]) -> list[str]:
    """The questions of this benchmark, answered in sentences by the numbers of `runs`."""
    lines = []
    found = speed_ups(runs)
    for system, peer in itertools.product((OURS, BEFORE), (OPTUNA, RAY)):
        mine = [one for one in found if one.system == system and one.peer == peer]
        if not mine:
            continue
        there = sum(one.seconds is not None for one in mine)
        lines.append(
            f"How soon is {SYSTEMS[system]} where {_SHORT[peer]} is at its end? In {there} of {len(mine)} runs it gets "
            f"there; the median is {_times([one.of_budget for one in mine])} sooner than the time that {_SHORT[peer]} "
            f"was given, and {_times([one.of_peer for one in mine])} sooner than {_SHORT[peer]} itself was there."
        )
    pairs = {(run.task, run.seed) for run in runs if run.system == OURS}
    compared = pairs & {(run.task, run.seed) for run in runs if run.system == PROBE}
    if compared:
        below = below_probe(runs)
        valued = {(one.task, one.seed) for one in below if one.ours is not None}
        empty = {(one.task, one.seed) for one in below if one.ours is None}
        lines.append(
            f"Is ours ever below the probe (c), beyond its interval? In {len(valued)} of {len(compared)} runs; in "
            f"{len(empty)} the probe had a model before ours had any."
        )
    for task in dict.fromkeys(run.task for run in runs):
        present = [system for system in SYSTEMS if any((run.task, run.system) == (task, system) for run in runs)]
        ends = {s: spread([_end(run) for run in runs if (run.task, run.system) == (task, s)]) for s in present}
        known = {system: one.median for system, one in ends.items() if one is not None}
        if known:
            best = max(known, key=known.__getitem__)
            rest = ", ".join(f"{_SHORT[system]} {_spread_text(ends[system])}" for system in present)
            lines.append(
                f"Who is best on {task} at the end? {_SHORT[best]}, of all that it tried on `valid`; in per cent, "
                f"medians over seeds: {rest}. {_on_what_was_held_back(runs, task, present)}"
            )
    return lines or ["Nothing yet: there are no two runs to compare."]


def _on_what_was_held_back(runs: Sequence[Run], task: str, systems: Sequence[str]) -> str:
    """What their models are worth on photos that nobody chose by."""
    scores: dict[tuple[str, str], Estimate] = {}
    for system in systems:
        mine = [run for run in runs if (run.task, run.system) == (task, system)]
        for which, found in (
            ("", [ended_with(run) for run in mine]),
            (" the winner that it names", [run.winner for run in mine]),
            (" its ensemble", [run.ensemble for run in mine]),
        ):
            tests = [point.test for point in found if point is not None and point.test is not None]
            if tests:
                # The same photos for every seed.
                scores[system, which] = wilson(statistics.fmean(test.value for test in tests), tests[0].n)
    if len({system for system, _ in scores}) < 2:
        return "On what was held back there is nothing to compare."
    said = ", ".join(f"{_SHORT[system]}{which} {_estimate_text(one)}" for (system, which), one in scores.items())
    first = max(scores, key=lambda key: scores[key].value)
    apart = all(one.ci95[1] < scores[first].ci95[0] for key, one in scores.items() if key[0] != first[0])
    told = "which tells them apart" if apart else "which does not tell the best apart from all others"
    return f"On the photos that were held back (n, 95 % interval): {said}; {told}."


def _estimate_text(one: Estimate) -> str:
    low, high = one.ci95
    return f"{100 * one.value:.1f} ({one.n}; {100 * low:.1f} to {100 * high:.1f})"


def _end(run: Run) -> float | None:
    point = ended_with(run)
    return None if point is None else point.value


def _times(ratios: Sequence[float]) -> str:
    ratio = median_ratio(ratios)
    return f"{ratio:.3g} x" if ratio else "0 x (not there)"


def _marks(runs: Sequence[Run], *, test: bool = False) -> str:
    marks = marks_of(runs)
    rows = []
    for task in dict.fromkeys(run.task for run in runs):
        for system in SYSTEMS:
            mine = [run for run in runs if run.task == task and run.system == system]
            if mine:
                cells = [_spread_text(spread([value_at(run, mark, test=test) for run in mine])) for mark in marks]
                rows.append([task, _SHORT[system] + " " + system, len(mine), *cells])
    return _table(rows, ["task", "system", "seeds", *map(_mark_text, marks)])


def _mark_text(mark: float) -> str:
    return f"{mark:g} s" if mark < 60 else f"{mark / 60:g} min"


def _spread_text(found: Spread | None) -> str:
    if found is None:
        return _NOTHING
    text = f"{100 * found.median:.2f}"
    if found.low < found.high:
        text += f" ({100 * found.low:.2f} to {100 * found.high:.2f})"
    return text + (f", {found.missing} without" if found.missing else "")


def _speed_ups(runs: Sequence[Run]) -> str:
    found = speed_ups(runs)
    if not found:
        return "There are no runs of ours and of a peer for one task and seed."
    rows = [
        [
            one.task,
            one.seed,
            f"{_SHORT[one.system]} {one.system}",
            f"{_SHORT[one.peer]} {one.peer}",
            f"{100 * one.target:.2f}",
            f"{one.peers:.1f}",
            "never" if one.seconds is None else f"{one.seconds:.1f}",
            _ratio_text(one, one.of_peer),
            _ratio_text(one, one.of_budget),
        ]
        for one in found
    ]
    headings = [
        "task",
        "seed",
        "system",
        "against",
        "its value at its end, %",
        "it was there, s",
        "system was there, s",
    ]
    headings += ["sooner than it", "sooner than its time"]
    medians = []
    for system, peer in itertools.product((OURS, BEFORE), (OPTUNA, RAY)):
        mine = [one for one in found if one.system == system and one.peer == peer]
        if mine:
            ratios = _times([one.of_peer for one in mine]), _times([one.of_budget for one in mine])
            medians.append([f"{_SHORT[system]} {system}", f"{_SHORT[peer]} {peer}", len(mine), *ratios])
    summary = _table(medians, ["system", "against", "runs", "sooner than it, median", "sooner than its time, median"])
    return f"A system that never was there counts as 0 x in a median.\n\n{summary}\n\n{_table(rows, headings)}"


def _ratio_text(one: SpeedUp, ratio: float) -> str:
    return "–" if one.seconds is None else f"{ratio:.2f} x"


def _below(runs: Sequence[Run]) -> str:
    rows = [
        [
            one.task,
            one.seed,
            f"{one.start:.1f} to {one.end:.1f}",
            "no model yet" if one.ours is None else f"{100 * one.ours:.2f}",
            f"{100 * one.bound:.2f}",
        ]
        for one in below_probe(runs)
    ]
    if not rows:
        return "Nowhere, in the runs that are there."
    headings = ["task", "seed", "seconds", "ours at most, %", "lower bound of the probe at least, %"]
    return _table(rows, headings)


def _table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)


def draw(runs: Sequence[Run], path: Path) -> None:
    """A panel a task: the best value on `valid` so far, the median over seeds with its range."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(run.task for run in runs))
    columns = min(len(tasks), 3)
    lines = -(-len(tasks) // columns)
    figure, panels = pyplot.subplots(lines, columns, figsize=(5 * columns, 3.6 * lines), squeeze=False, layout="tight")
    for panel, task in itertools.zip_longest(panels.flat, tasks):
        if task is None:
            panel.set_axis_off()
            continue
        for number, system in enumerate(SYSTEMS):
            mine = [run for run in runs if run.task == task and run.system == system and not run.failure]
            times = changes(mine)
            points = [(time, at) for time, at in zip(times, curve(mine, times), strict=True) if at is not None]
            if not points:
                continue
            when = [time for time, _ in points]
            label, colour = f"{_SHORT[system]} {system}", f"C{number}"
            panel.step(when, [100 * at.median for _, at in points], where="post", label=label, color=colour)
            low, high = ([100 * getattr(at, name) for _, at in points] for name in ("low", "high"))
            panel.fill_between(when, low, high, step="post", alpha=0.2, color=colour, linewidth=0)
        panel.set(
            title=task, xscale="log", xlabel="seconds since the start of the command", ylabel="accuracy on valid, %"
        )
        panel.grid(visible=True, which="both", alpha=0.3)
        if panel.has_data():
            panel.legend(fontsize="small", loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
