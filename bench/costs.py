"""How well are the costs of trials predicted?

    python -m bench.costs STUDY... [--storage URL] [--out DIR]

Reads what studies recorded: of each group of trials the seconds that were predicted before it began, and those that it
took. Writes a table by study and kind of work, a figure of predictions against truth, and the same for the rank
correlations between rungs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from search_spaces import InputError
from studies import open_study
from studies.cost_report import GroupCost, accuracy_of, costs_of_groups
from studies.rung_report import rank_correlations
from training import atomic_write_bytes
from training.machine.files import atomic_path
from training.machine.process import configure

PAGE, FIGURE = "README.md", "costs.png"
KINDS = {0: "heads on frozen features", 1: "heads on augmented views", 2: "stages that train", None: "trained whole"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("studies", nargs="+", metavar="STUDY")
    parser.add_argument("--storage")
    parser.add_argument("--out", type=Path, default=Path("results/costs"))
    options = parser.parse_args(argv)
    try:
        text = written(options, shlex.join(sys.argv[1:] if argv is None else argv))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(text)
    return 0


def written(options: argparse.Namespace, arguments: str) -> str:
    """Writes the page and the figure, and returns the page."""
    studies = [open_study(name, options.storage) for name in options.studies]
    groups = [group for study in studies for group in costs_of_groups(study.records())]
    if not groups:
        raise InputError("no group of these studies has predicted seconds: only --strategy rungs predicts")
    first = studies[0].settings
    versions = ", ".join(f"{name} {version}" for name, version in first.environment.get("versions", {}).items())
    fingerprints = ", ".join(f"{study.name} {study.settings.source} {study.settings.fingerprint}" for study in studies)
    carried = [
        [study.name, f"{one.lower} to {one.higher}", one.pairs, _rho(one.correlation)]
        for study in studies
        for one in rank_correlations(study.records(), study.settings.direction)
    ]
    text = (
        "# Predicted and true seconds of groups of trials\n\n"
        "A prediction is made before a group begins, from speeds that were measured on this machine and from how "
        "earlier predictions came out. `error` is the median of |predicted / true - 1|, `drift` the median of "
        "predicted / true.\n\n"
        f"- command: `python -m bench.costs {arguments}`\n"
        f"- studies: {'; '.join(f'`{from_here(study.settings.command)}`' for study in studies)}\n"
        f"- data: {fingerprints}\n"
        f"- versions: {versions}; commit {first.environment.get('commit') or 'none'}\n"
        f"- machine: {first.environment.get('device')}; {first.numerics}\n\n"
        + tabulate(_rows(groups), ["study", "work", "groups", "error", "drift"], tablefmt="github")
        + f"\n\n![predicted against true seconds]({FIGURE})\n"
        + _carried(carried)
    )
    _draw(groups, options.out / FIGURE)
    atomic_write_bytes(options.out / PAGE, text.encode())
    return text


def from_here(command: str) -> str:
    """A command as it would be typed in this folder: whole paths say nothing to readers elsewhere."""
    return shlex.join(os.path.relpath(word) if os.path.isabs(word) else word for word in shlex.split(command))


def _carried(rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    return (
        "\n## Do cheap rungs tell the truth?\n\n"
        "Spearman's rank correlation, over choices of features (a backbone at a resolution), of the best values at two "
        "rungs; what was promoted did well below, which makes it smaller.\n\n"
        + tabulate(rows, ["study", "rungs", "pairs", "correlation"], tablefmt="github")
        + "\n"
    )


def _rho(correlation: float | None) -> str:
    return "undefined" if correlation is None else f"{correlation:.2f}"


def _rows(groups: Sequence[GroupCost]) -> list[list[object]]:
    keys = list(dict.fromkeys((group.study, group.rung) for group in groups))
    parts = [
        (study, KINDS.get(rung, str(rung)), [g for g in groups if (g.study, g.rung) == (study, rung)])
        for study, rung in keys
    ]
    rows: list[list[object]] = []
    for study, work, chosen in [*parts, ("all", "", list(groups))]:
        accuracy = accuracy_of(chosen)
        if accuracy is not None:
            rows.append([study, work, accuracy.groups, f"{100 * accuracy.error:.0f} %", f"{accuracy.drift:.2f}"])
    return rows


def _draw(groups: Sequence[GroupCost], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    for rung, work in KINDS.items():
        chosen = [group for group in groups if group.rung == rung]
        axes.scatter([g.seconds for g in chosen], [g.predicted for g in chosen], s=18, label=work if chosen else None)
    ends = [min(min(g.seconds, g.predicted) for g in groups), max(max(g.seconds, g.predicted) for g in groups)]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="seconds that a group took", ylabel="seconds predicted")
    axes.legend()
    with atomic_path(file) as path:
        figure.savefig(path, format="png", dpi=110)


if __name__ == "__main__":
    configure()
    raise SystemExit(main())
