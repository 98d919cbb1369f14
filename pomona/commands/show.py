"""How a study's leaderboard looks to people; several commands end with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from search_spaces import interval_text, is_numeric, value_text

from ..console import note, print_lines, print_table
from ..hints import pomona_command
from ..printable import one_line

if TYPE_CHECKING:
    from studies import Study

_EXPENDABLE = ("seed", "M params", "n", "img/s", "features/s", "groups", "groups %", "epochs", "s")


# A terminal shows no more rows than these unless it is asked to; folding thousands of them takes half a minute.
_ROWS_ON_TERMINAL = 100


def print_leaderboard(study: Study, top: int | None) -> None:
    """Title, table, and what the first row is worth."""
    from studies import to_cells

    every = rows_of(study, None)
    print_lines([*_title(study, every), ""])
    rows = every[:top]
    trials = len(rows)
    if top is None and sys.stdout.isatty():
        rows = rows[:_ROWS_ON_TERMINAL]
    headings, cells = to_cells(rows, study.settings.metric)
    names = {name for row in rows for name in row["params"]}
    differing = [heading for heading in headings if heading in names]
    left_out = print_table(headings, cells, expendable=[*_EXPENDABLE, *reversed(differing)])
    if left_out:
        note(f"narrow terminal, left out: {', '.join(left_out)} (--format csv has everything)")
    if len(rows) < trials:
        note(f"the first {len(rows)} of {trials} trials (--top {trials} and --format csv show all)")


def markdown_leaderboard(study: Study, top: int | None) -> str:
    """The table with its provenance: command, versions, commit, machine, data fingerprint."""
    from studies import to_cells

    rows = rows_of(study, None)
    headings, cells = to_cells(rows[:top], study.settings.metric)
    title, *lines = map(one_line, _title(study, rows))
    cells = [[one_line(cell).replace("|", r"\|") for cell in row] for row in cells]
    table = tabulate(cells, headings, tablefmt="github", disable_numparse=True)
    provenance = "\n".join(one_line(f"- {name}: {value}") for name, value in _provenance(study, top))
    return f"# {title}\n\n" + "\n".join(lines) + f"\n\n{provenance}\n\n{table}\n"


def _title(study: Study, rows: list[dict[str, Any]]) -> list[str]:
    """What stands above the table; `rows` are those of all trials."""
    from studies import same_params

    settings = study.settings
    counts = study.counts()
    ended = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"
    lines = [f"{study.name}: {settings.task} on data {settings.source}, {sum(counts.values())} trials ({ended})"]
    best = study.best()
    if best is None:
        return [*lines, "No trial has run to its end yet."]
    metric = settings.metric
    value = value_text(metric, best.value) if best.value is not None else ""
    interval = f", 95 % interval {interval_text(metric, best.ci95)} on n = {best.n}" if best.ci95 else ""
    grouped = ""
    if best.groups_ci95 is not None and best.group_value is not None:
        on_groups = f"{value_text(metric, best.group_value)}, {interval_text(metric, best.groups_ci95)}"
        grouped = f"; {on_groups} on {best.n_groups} groups"
    others = "".join(f"; {name} {value_text(name, value)}" for name, value in best.beside.items())
    lines.append(f"Best: trial {best.number}, {metric} {value}{interval}{grouped}{others}.")
    lines.append(
        f"It is the best of {sum(counts.values())} trials: a maximum, optimistically biased, not an estimate. "
        "It is not confirmed on fresh seeds."
    )
    if settings.target is not None and best.ci95 is not None and best.value is not None:
        point = "reached" if best.value >= settings.target else "missed"
        bound = "reached" if best.ci95[0] >= settings.target else "missed"
        target = f"{settings.target:g}" if is_numeric(metric) else f"{100 * settings.target:g} %"
        lines.append(f"Target {target}: {point} by the value, {bound} by its lower bound.")
    if same := same_params(rows):
        lines.append("The same in all trials: " + ", ".join(f"{name} {value}" for name, value in same.items()) + ".")
    return lines


def _provenance(study: Study, top: int | None) -> list[tuple[str, Any]]:
    rows = {} if top is None else {"top": str(top)}
    table = pomona_command("leaderboard", study.name, format="md", storage=study.storage_url, **rows)
    settings, environment = study.settings, study.settings.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    return [
        ("command of the search", f"`{settings.command}`"),
        *(("gone on with", f"`{command}`") for command in settings.later_commands),
        ("command of this table", f"`{table}`"),
        ("data", f"{settings.source}, fingerprint {settings.fingerprint}"),
        (
            "budget",
            f"{study.budget}, seed {settings.seed}, {settings.pruner} pruner, {settings.lanes} side by side",
        ),
        ("versions", f"Python {environment.get('python')}, {versions}"),
        ("commit", environment.get("commit") or "none"),
        ("machine", f"{environment.get('device')}; {study.numerics}"),
        ("seconds in trials", f"{sum(record.seconds for record in study.records()):.0f}"),
    ]


def rows_of(study: Study, top: int | None) -> list[dict[str, Any]]:
    """The first `top` rows of the leaderboard, all of them for None."""
    from studies import leaderboard_rows

    return leaderboard_rows(study.records(), direction=study.settings.direction)[:top]
