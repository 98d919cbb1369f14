"""The tables of `bench.robustness`: how well two figures rank models by how they fare on other people's photos."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import spearmanr  # type: ignore[import-untyped]
from tabulate import tabulate

Row = Mapping[str, Any]
FIGURES = ("valid", "robust")
_WHERE = ("camera", "web")
# So many configs are worth a correlation of their own.
_MANY = 20


def markdown(figures: Mapping[str, Any]) -> str:
    """All tables, under what they depend on."""
    rows = [row | shares(row, figures) for row in figures["rows"]]
    machine, settings = figures["environment"], figures["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    counts = ", ".join(f"{source} {count}" for source, count in figures["elsewhere"].items())
    parts = [
        "# How a model fares on other people's photos\n",
        f"{len(rows)} configs trained for {settings['epochs']} epochs, one seed. `valid` is the accuracy on "
        f"{figures['n']} validation photos, `robust` the mean over their changed forms, camera and web that on photos "
        "by others, which nothing was trained on or chosen by. Configs that share photos and weights are no "
        "independent samples: the correlations are of these configs, and have no interval.\n",
        f"- command: `{figures['command']}`\n"
        f"- data: {figures['data']}, fingerprint {settings['fingerprint']}; photos by others: {counts} "
        f"(web: {', '.join(figures['web'])}), digest {settings['elsewhere']}\n"
        f"- machine: {machine['device']}; commit {machine['commit'] or 'none'}\n"
        f"- versions: python {machine['python']}, {versions}\n",
    ]
    if figures.get("missing"):
        parts.append(f"{figures['missing']} configs were not trained for want of time.\n")
    if len(rows) > 2:
        parts += ["## Rank correlation (Spearman)\n", _correlations(rows)]
        parts += ["## Rank correlation with each source, all configs\n", _by_source(rows, figures["elsewhere"])]
        parts += ["## What would be chosen\n", _chosen(rows), "## By choice\n", _by_choice(rows)]
    return "\n".join(parts)


def shares(row: Row, figures: Mapping[str, Any]) -> dict[str, float]:
    """The share of right answers on camera photos and on pictures from the web."""
    counts, right = figures["elsewhere"], row["elsewhere"]
    web = {source for source in counts if source in figures["web"]}
    parts = {"camera": counts.keys() - web, "web": web}
    return {
        name: sum(right[source] for source in of) / max(sum(counts[source] for source in of), 1)
        for name, of in parts.items()
    }


def tied(rows: Sequence[Row]) -> list[Row]:
    """The rows inside the interval over groups of the one with the best value."""
    best = max(rows, key=lambda row: row["valid"])
    if best["groups_ci95"] is None:
        return [row for row in rows if row["valid"] == best["valid"]]
    return [row for row in rows if row["group_value"] >= best["groups_ci95"][0]]


def _correlations(rows: Sequence[Row]) -> str:
    cells = []
    for name, chosen in _subsets(rows).items():
        line: list[object] = [name, len(chosen)]
        for where in _WHERE:
            line += [_rank_correlation(chosen, figure, where) for figure in FIGURES]
        cells.append(line)
    headings = ["configs", "n", *(f"{figure} to {where}" for where in _WHERE for figure in FIGURES)]
    return _table(cells, headings)


def _subsets(rows: Sequence[Row]) -> dict[str, Sequence[Row]]:
    """All, those that `valid` can't tell from the best, and those that agree in one choice, where they are many."""
    found: dict[str, Sequence[Row]] = {"all": rows, "inside the interval of the best `valid`": tied(rows)}
    for name in _differing(rows):
        for value in _values(rows, name):
            agreeing = [row for row in rows if row["config"].get(name) == value]
            if value is not None and _MANY <= len(agreeing) < len(rows):
                found[f"{name} {value}"] = agreeing
    return found


def _by_source(rows: Sequence[Row], counts: Mapping[str, int]) -> str:
    cells = []
    for source, count in counts.items():
        of_source = [{**row, source: row["elsewhere"][source] / count} for row in rows]
        mean = f"{100 * statistics.fmean(row[source] for row in of_source):.1f}"
        cells.append([source, count, mean, *(_rank_correlation(of_source, figure, source) for figure in FIGURES)])
    return _table(cells, ["source", "photos", "mean %", *FIGURES])


def _rank_correlation(rows: Sequence[Row], figure: str, where: str) -> str:
    one, other = ([row[name] for row in rows] for name in (figure, where))
    if len(rows) < 3 or min(one) == max(one) or min(other) == max(other):
        return ""
    return f"{float(spearmanr(one, other).statistic):+.2f}"


def _chosen(rows: Sequence[Row]) -> str:
    """The first by `valid`, and the first by `robust` of those tied with it, beside what there was."""
    among = tied(rows)
    most = {figure: max(row[figure] for row in of) for figure, of in (("valid", rows), ("robust", among))}
    choices: dict[str, Sequence[Row]] = {
        "best `valid` (equal ones: their mean)": [row for row in rows if row["valid"] == most["valid"]],
        "best `robust` inside its interval": [row for row in among if row["robust"] == most["robust"]],
        "all inside its interval": among,
        "all": rows,
    }
    cells = [
        [name, len(chosen), *(_mean(chosen, what) for what in (*FIGURES, *_WHERE))] for name, chosen in choices.items()
    ]
    return _table(cells, ["chosen", "n", *(f"{what} %" for what in (*FIGURES, *_WHERE))])


def _by_choice(rows: Sequence[Row]) -> str:
    """The mean of each figure over the configs with each value of each dimension that differs."""
    cells = []
    for name in _differing(rows):
        for value in _values(rows, name):
            of_value = [row for row in rows if row["config"].get(name) == value]
            if value is not None:
                line = [name, str(value), len(of_value), *(_mean(of_value, what) for what in (*FIGURES, *_WHERE))]
                cells.append(line)
    return _table(cells, ["dimension", "value", "n", *(f"{what} %" for what in (*FIGURES, *_WHERE))])


def _differing(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row["config"])
    return [name for name in names if len(_values(rows, name)) > 1]


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row["config"].get(name) for row in rows))


def _mean(rows: Sequence[Row], what: str) -> str:
    return f"{100 * statistics.fmean(row[what] for row in rows):.1f}"


def _table(cells: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    return tabulate(cells, headings, tablefmt="github", disable_numparse=True) + "\n"
