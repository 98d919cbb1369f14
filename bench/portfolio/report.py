"""The shipped file, and the page that says how well a portfolio does on a task that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from training import atomic_write_bytes, environment, write_versioned_json

from .candidates import Candidate, Recorded
from .matrix import SEED, Matrix
from .selection import LeftOut, Row, greedy, left_out, trials_at_random, trials_in_order

PAGE = "README.md"


def rows_of(matrix: Matrix, candidates: Sequence[Candidate]) -> list[Row]:
    """What the candidates are worth that were trained on every task."""
    rows = []
    for place, candidate in enumerate(candidates):
        cells = {task: matrix.cell(task, matrix.own(task, candidate.config)) for task in matrix.tasks}
        there = {task: cell for task, cell in cells.items() if cell is not None}
        if len(there) == len(cells):
            values = {task: cell.value for task, cell in there.items()}
            rows.append(Row(place, candidate.task, values, sum(cell.seconds for cell in there.values())))
    return rows


def about(matrix: Matrix, command: str) -> dict[str, Any]:
    """How the figures came about."""
    return {
        "command": command,
        "environment": environment(torch.device("cpu")) | {"numerics": str(matrix.numerics)},
        "epochs": matrix.epochs,
        "seed": SEED,
        "fingerprints": {task: data.fingerprint for task, data in matrix.data.items()},
    }


def portfolio_file(
    file: Path, matrix: Matrix, candidates: Sequence[Candidate], rows: Sequence[Row], size: int, command: str
) -> None:
    """Writes the portfolio of all tasks, in the order in which its configs were chosen."""
    configs = [
        {"config": candidates[row.candidate].config, "found_on": row.task, "values": dict(row.values)}
        for row in greedy(rows, list(matrix.tasks), size)
    ]
    best = {task: max(row.values[task] for row in rows) for task in matrix.tasks}
    figures = about(matrix, command) | {"candidates": len(rows), "best": best, "configs": configs}
    write_versioned_json(file, figures)


def write_page(
    folder: Path,
    matrix: Matrix,
    candidates: Sequence[Candidate],
    rows: Sequence[Row],
    studies: Sequence[Recorded],
    size: int,
    command: str,
) -> str:
    """Writes the page into `folder` and returns it."""
    text = page(rows, candidates, studies, size, about(matrix, command))
    atomic_write_bytes(folder / PAGE, text.encode())
    return text


def page(
    rows: Sequence[Row], candidates: Sequence[Candidate], studies: Sequence[Recorded], size: int, facts: dict[str, Any]
) -> str:
    """The tables and what they say."""
    tasks = list(facts["fingerprints"])
    found = left_out(rows, tasks, size)
    machine = facts["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    photos = ", ".join(f"{task} {fingerprint}" for task, fingerprint in facts["fingerprints"].items())
    parts = [
        "# A portfolio of configs",
        f"How good are configs that were good on other tasks? {len(rows)} candidates, of the best of "
        f"{len(studies)} recorded studies, were each trained on every task ({facts['epochs']} epochs, seed "
        f"{facts['seed']}). A portfolio is chosen greedily: the next config is the one that brings tasks nearest to "
        "their best. For the check it is chosen without the task's results and without the candidates that were found "
        "on the task. Trials of the recorded studies count with the values that they have there; those that were "
        "pruned count as trials without one.",
        f"- command: `{facts['command']}`\n- machine: {machine['device']}, {machine['numerics']}; "
        f"python {machine['python']}, {versions}; "
        f"commit {machine['commit'] or 'none'}\n- photos, by fingerprint: {photos}",
        "## Each task left out in turn",
        _left_out(found, studies),
        "\n".join(f"- {line}" for line in answers(found, studies)),
        "## The portfolio of all tasks",
        _chosen(greedy(rows, tasks, size), tasks, candidates),
    ]
    return "\n\n".join(parts) + "\n"


def answers(found: Sequence[LeftOut], studies: Sequence[Recorded]) -> list[str]:
    """What the check says, in sentences."""
    if not found:
        return ["Nothing: a check needs studies of two tasks at least."]
    gaps = [100 * (one.best - one.value) for one in found]
    lines = [
        f"How near does the portfolio of the other tasks come? On {len(found)} tasks it is {max(gaps):.2f} points "
        f"below the best candidate at most, {sum(gaps) / len(gaps):.2f} on average."
    ]
    for one in found:
        counts = [trials_in_order(_values(study), one.value) for study in studies if study.task == one.task]
        reached = [count for count in counts if count is not None]
        lines.append(
            f"On {one.task} its value is there after {one.first} of its {one.size} configs; of {len(counts)} recorded "
            f"studies {len(reached)} got there"
            + (f", in {min(reached)} to {max(reached)} trials." if reached else " at all.")
        )
    return lines


def _values(study: Recorded) -> list[float | None]:
    """Of its trials, in their order; None of those that did not run to their end."""
    return [trial.value if trial.state == "complete" else None for trial in study.trials]


def _left_out(found: Sequence[LeftOut], studies: Sequence[Recorded]) -> str:
    rows = []
    for one in found:
        for study in (study for study in studies if study.task == one.task):
            values = _values(study)
            in_order = trials_in_order(values, one.value)
            at_random = trials_at_random(values, one.value)
            rows.append(
                [
                    one.task,
                    f"{100 * one.value:.2f}",
                    f"{100 * one.best:.2f}",
                    f"{one.first} of {one.size}",
                    study.name,
                    len(values),
                    "never" if in_order is None else in_order,
                    "never" if at_random is None else f"{at_random:.1f}",
                ]
            )
    headings = ["task left out", "portfolio, %", "best candidate, %", "there after", "recorded study", "its trials"]
    headings += ["trials to the same value", "in random order"]
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)


def _chosen(chosen: Sequence[Row], tasks: Sequence[str], candidates: Sequence[Candidate]) -> str:
    rows = [
        [
            place,
            f"{row.task}, {candidates[row.candidate].study} trial {candidates[row.candidate].number}",
            *(f"{100 * row.values[task]:.2f}" for task in tasks),
            f"{row.seconds:.0f}",
            ", ".join(
                f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in candidates[row.candidate].config.items()
            ),
        ]
        for place, row in enumerate(chosen, 1)
    ]
    return tabulate(
        rows,
        ["place", "found on", *(f"{task}, %" for task in tasks), "s in all", "config"],
        tablefmt="github",
        disable_numparse=True,
    )
