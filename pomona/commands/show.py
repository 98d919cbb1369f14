"""How a study's leaderboard looks to people; several commands end with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from search_spaces import interval_text, is_numeric, value_text

from ..confirmed_text import luck_text, mean_text
from ..console import note, print_lines, print_table
from ..hints import go_on_command, pomona_command, runs_file
from ..printable import one_line

if TYPE_CHECKING:
    from studies import Confirmed, Study
    from studies.settings import Settings

_EXPENDABLE = ("seed", "M params", "n", "img/s", "features/s", "groups", "groups %", "epochs", "s")


# A terminal shows no more rows than these unless it is asked to; folding thousands of them takes half a minute.
_ROWS_ON_TERMINAL = 100


def print_leaderboard(
    study: Study,
    top: int | None,
    *,
    confirmations: bool = False,
    ensemble: bool = False,
    rows_on_terminal: int = _ROWS_ON_TERMINAL,
) -> None:
    """Title, table, and what the first row is worth. `rows_on_terminal` is what a terminal gets without a `top`."""
    from studies import to_cells
    from studies.leaderboard import differing_params

    every = rows_of(study, confirmations, ensemble=ensemble)
    print_lines([*_title(study, every), ""])
    rows = every[:top]
    trials = len(rows)
    if top is None and sys.stdout.isatty():
        rows = rows[:rows_on_terminal]
    differing = differing_params(every)
    headings, cells = to_cells(rows, study.settings.metric, differing)
    left_out = print_table(headings, cells, expendable=[*_EXPENDABLE, *reversed(differing)])
    if left_out:
        note(f"narrow terminal, left out: {', '.join(left_out)} (--format csv has everything)")
    if len(rows) < trials:
        command = pomona_command("leaderboard", study.name, storage=study.storage_url)
        note(f"the first {len(rows)} of {trials} trials; {command} --top {trials} shows all")


def markdown_leaderboard(study: Study, top: int | None, *, confirmations: bool = False, ensemble: bool = False) -> str:
    """The table with its provenance: command, versions, commit, machine, data fingerprint."""
    from studies import to_cells
    from studies.leaderboard import differing_params

    rows = rows_of(study, confirmations, ensemble=ensemble)
    headings, cells = to_cells(rows[:top], study.settings.metric, differing_params(rows))
    title, *lines = map(one_line, _title(study, rows))
    cells = [[one_line(cell).replace("|", r"\|") for cell in row] for row in cells]
    table = tabulate(cells, headings, tablefmt="github", disable_numparse=True)
    provenance = "\n".join(one_line(f"- {name}: {value}") for name, value in _provenance(study, top, confirmations))
    return f"# {title}\n\n" + "\n".join(lines) + f"\n\n{provenance}\n\n{table}\n"


def _title(study: Study, rows: list[dict[str, Any]]) -> list[str]:
    """What stands above the table; `rows` are those of all trials."""
    from studies import same_params
    from studies.done import interval_to_judge_by

    settings = study.settings
    running = study.is_running()
    counts = study.counts(running=running)
    ended = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"
    lines = [f"{study.name}: {settings.task} on data {settings.source}, {sum(counts.values())} trials ({ended})"]
    confirmed = study.confirmed()
    best = study.best(running=running)
    if best is None:
        return [*lines, "No trial has run to its end yet."]
    metric = settings.metric
    value = value_text(metric, best.value) if best.value is not None else ""
    interval = f", 95 % interval {interval_text(metric, best.ci95)} on n = {best.n}" if best.ci95 else ""
    grouped = ""
    if best.groups_ci95 is not None and best.group_value is not None:
        on_groups = f"{value_text(metric, best.group_value)}, {interval_text(metric, best.groups_ci95)}"
        grouped = f"; {on_groups} on {best.n_groups} groups"
    robust = "" if best.robust is None else f"; robust {value_text(metric, best.robust)}"
    others = "".join(f"; {name} {value_text(name, value)}" for name, value in best.secondary.items())
    if confirmed:
        lines.append(_confirmed_line(confirmed[0], metric, study.trial(confirmed[0].number).n))
    how_far = f"; {best.reason}" if best.state == "interrupted" else ""
    lines.append(f"Best: trial {best.number}, {metric} {value}{interval}{grouped}{robust}{others}{how_far}.")
    known = next((one for one in confirmed if one.number == best.number), None)
    first = runs_file(study, study.storage_url)
    if known is not None:
        honest = f"Confirmed, it is {value_text(metric, known.mean)}."
    elif refuted := study.refuted().get(best.number):
        honest = f"It is refuted, as all others are: {refuted}."
    elif best.state == "interrupted":
        command = go_on_command("resume", study, storage=study.storage_url)
        honest = f"It can't be confirmed before it has run to its end: {command} goes on{first}."
    else:
        command = go_on_command("confirm", study, storage=study.storage_url)
        honest = f"It is not confirmed on fresh seeds: {command} does that{first}."
    lines.append(
        f"It is the best of {sum(counts.values())} trials: a maximum, optimistically biased, not an estimate. {honest}"
    )
    what, value_of_all = ("confirmed mean", confirmed[0].mean) if confirmed else ("value", best.value)
    bounds, of = (confirmed[0].ci95, "") if confirmed else interval_to_judge_by(best)
    if bounds is not None and value_of_all is not None:
        if settings.target is not None:
            lines.append(_target_line("Target", settings.target, settings, what, value_of_all, bounds, of))
        if settings.stop_at is not None:
            lines.append(_target_line("--target", settings.stop_at, settings, what, value_of_all, bounds, of))
    lines += _of_rungs(study)
    if same := same_params(rows):
        lines.append("The same in all trials: " + ", ".join(f"{name} {value}" for name, value in same.items()) + ".")
    return lines


def _target_line(
    whose: str, target: float, settings: Settings, what: str, value: float, bounds: tuple[float, float], of: str = ""
) -> str:
    """Whether a target is reached; `what` has the `value` with its `bounds`, `of` what these are."""
    sign, worse, side = (1, bounds[0], "lower") if settings.direction == "maximize" else (-1, bounds[1], "upper")
    by_value, by_bound = ("reached" if sign * (x - target) >= 0 else "missed" for x in (value, worse))
    shown = f"{target:g}" if is_numeric(settings.metric) else f"{100 * target:g} %"
    return f"{whose} {shown}: {by_value} by the {what}, {by_bound} by its {side} bound{of}."


def _of_rungs(study: Study) -> list[str]:
    """What is to be known of a search that climbed rungs: its baseline, its ranks and its predictions."""
    from studies.cost_report import accuracy_of, costs_of_groups
    from studies.rung_report import rank_correlations

    records = study.records()
    lines = [f"{study.recipe_note[:1].upper()}{study.recipe_note[1:]}."] if study.recipe_note else []
    lines += [
        f"Rung {one.lower} to {one.higher}: {one}." for one in rank_correlations(records, study.settings.direction)
    ]
    costs = accuracy_of(costs_of_groups(records))
    if costs is not None:
        lines.append(
            f"Predicted seconds of {costs.groups} groups of trials: half are within {100 * costs.error:.0f} %; "
            f"the median is {costs.drift:.2f} of what they took."
        )
    return lines


def _confirmed_line(confirmed: Confirmed, metric: str, n: int) -> str:
    figure = mean_text(metric, confirmed.mean, confirmed.ci95, confirmed.seeds)
    found = value_text(metric, confirmed.mean + confirmed.luck)
    return (
        f"Confirmed: trial {confirmed.number}, {figure}, each on n = {n}. "
        f"The search had {found}: luck {luck_text(metric, confirmed.luck)}."
    )


def _provenance(study: Study, top: int | None, confirmations: bool) -> list[tuple[str, Any]]:
    rows = {} if top is None else {"top": str(top)}
    table = pomona_command("leaderboard", study.name, format="md", storage=study.storage_url, **rows)
    table += " --confirmations" if confirmations else ""
    settings, environment = study.settings, study.settings.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    return [
        ("command of the search", f"`{settings.command}`"),
        *(("gone on with", f"`{command}`") for command in settings.later_commands),
        ("command of this table", f"`{table}`"),
        ("data", f"{settings.source}, fingerprint {settings.fingerprint}"),
        (
            "budget",
            f"{study.budget}, seed {settings.seed}, {settings.strategy} strategy, {settings.sampler} sampler, "
            f"{settings.pruner} pruner, {settings.lanes} side by side",
        ),
        ("versions", f"Python {environment.get('python')}, {versions}"),
        ("commit", environment.get("commit") or "none"),
        ("machine", f"{environment.get('device')}; {study.numerics}"),
        ("seconds in trials", f"{sum(record.seconds for record in study.records()):.0f}"),
    ]


def rows_of(study: Study, confirmations: bool = False, *, ensemble: bool = False) -> list[dict[str, Any]]:
    """The rows of the leaderboard, also those of the trials that confirm others, and of the ensemble, if wanted."""
    from studies import leaderboard_rows, with_ensemble

    direction, metric, records = study.settings.direction, study.settings.metric, study.records()
    rows = leaderboard_rows(records, direction=direction, metric=metric, confirmations=confirmations)
    return with_ensemble(rows, study, records) if ensemble else rows
