"""The tables and the figure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from search_spaces import Integer, Task
from training.machine.files import atomic_path, atomic_write_bytes

from . import figures
from .methods import METHODS, OURS
from .results import Results
from .time_to_target import SEARCHERS

_TITLES = {method.name: method.title for method in METHODS}


def markdown(results: Results, task: Task) -> str:
    """All tables, under what they depend on."""
    about = results.about
    parts = [
        "# Search speed\n",
        f"One list of {len(results.configs)} configs, {results.settings['epochs']} epochs each, trained by every "
        "method in blocks that took turns; everything counted from the start of a method's process, prefixes too. A "
        "method that trained fewer configs is scaled by its seconds a trial.\n",
        f"- command: `{about['command']}`\n- data: {about['data']}\n",
        *(_environment(environment) for environment in about["environments"]),
    ]
    if results.blocks:
        parts += [_methods(results), "## Accuracy of each config\n", _accuracies(results, task)]
    if results.growth:
        parts += ["## As the list grows\n", _growth(results)]
    if results.searches:
        parts += ["## Until the target is passed\n", _searches(results)]
    return "\n".join(parts)


def write(results: Results, task: Task, folder: Path | None) -> str:
    """The tables, which are also kept with the figure in `folder`."""
    text = markdown(results, task)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(folder / "search_speed.md", text.encode())
        if results.blocks:
            draw(results, folder / "search_speed.png")
    return text


def _environment(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return (
        f"- machine: {environment['device']}\n"
        f"- versions: python {environment['python']}, {versions}\n"
        f"- commit: {environment['commit'] or 'none'}\n"
    )


def _methods(results: Results) -> str:
    ratios = {one.against: one for one in figures.ratios(results)}
    differences = {one.against: one for one in figures.differences(results)}
    trials = len(results.configs)
    rows = []
    for name in results.methods:
        blocks = results.of(name)
        seconds = figures.seconds_per_trial(blocks, trials)
        known = list(figures.accuracies(blocks).values())
        rows.append(
            [
                _TITLES.get(name, name),
                sum(len(block.trained) for block in blocks),
                f"{figures.startup(blocks):.1f}",
                f"{seconds:.2f}",
                f"{3600 / seconds:.0f}",
                _ratio_text(ratios[name]) if name in ratios else "",
                f"{100 * statistics.fmean(known):.2f}" if known else "",
                _difference_text(differences[name]) if name in differences else "",
            ]
        )
    headings = [
        "method",
        "configs",
        "start, s",
        "s a trial",
        "trials an hour",
        "ours is faster by",
        "mean accuracy, %",
        "ours minus it, points",
    ]
    note = (
        "\nFaster by: the ratio of seconds a trial, with the 95 % interval of its bootstrap distribution over blocks, "
        "where there are several. Points: the mean over the configs that both trained, with its 95 % t-interval.\n"
    )
    return _table(rows, headings) + note


def _accuracies(results: Results, task: Task) -> str:
    found = {name: figures.accuracies(results.of(name)) for name in results.methods}
    dimensions = [name for name, dimension in task.space.dimensions.items() if isinstance(dimension, Integer)]
    rows = [
        [
            number,
            *(config.get(name, "") for name in dimensions),
            *(f"{100 * found[name][number]:.2f}" if number in found[name] else "" for name in results.methods),
        ]
        for number, config in enumerate(results.configs)
    ]
    return _table(rows, ["config", *dimensions, *results.methods])


def _growth(results: Results) -> str:
    ratios = {(one.against, one.trials): one for one in [*figures.ratios(results), *figures.growth_ratios(results)]}
    others = [name for name in results.methods if name != OURS]
    lists = [(len(results.configs), results.of(OURS))] if results.of(OURS) else []
    lists += [(len(block.trained), [block]) for block in results.growth]
    rows = [
        [
            trials,
            f"{figures.seconds_per_trial(blocks, trials):.2f}",
            *(_ratio_text(ratios[name, trials]) for name in others),
        ]
        for trials, blocks in sorted(lists)
    ]
    note = "\nOnly ours trained the longer lists; the others are scaled by their seconds a trial of the first list.\n"
    return _table(rows, ["trials", "ours, s a trial", *(f"faster than {name} by" for name in others)]) + note


def _searches(results: Results) -> str:
    rows = []
    for searcher in SEARCHERS:
        mine = [search for search in results.searches if search.method == searcher.name]
        reached = [search.seconds for search in mine if search.seconds is not None]
        if mine:
            spread = f"{statistics.median(reached):.1f} ({min(reached):.1f} to {max(reached):.1f})" if reached else ""
            complete = ", ".join(str(search.complete) for search in mine)
            rows.append([searcher.title, f"{len(reached)} of {len(mine)}", spread, complete])
    goal = results.about["target"]
    note = (
        f"\nUntil the first trial that was trained to its end has its 95 % Wilson bound above {100 * goal:g} %; "
        "sampler and pruner on, each search in a clean process, all from the same first config. Median and "
        "spread over seeds.\n"
    )
    return _table(rows, ["tool", "reached", "seconds", "trials to their end, by seed"]) + note


def _ratio_text(ratio: figures.Ratio) -> str:
    interval = f" ({ratio.low:.3g} to {ratio.high:.3g})" if ratio.low < ratio.high else ""
    return f"{ratio.ratio:.3g} x{interval}" + (": it is the faster one" if ratio.high < 1 else "")


def _difference_text(difference: figures.Difference) -> str:
    interval = "" if difference.low is None else f" ({difference.low:+.2f} to {difference.high:+.2f})"
    return f"{difference.mean:+.2f}{interval}, n = {difference.n}"


def _table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True) + "\n"


def draw(results: Results, path: Path) -> None:
    """Seconds a trial against the number of trials, both logarithmic, one line a method."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for name in results.methods:
        points = figures.running_seconds(results.of(name))
        title = _TITLES.get(name, name)
        (line,) = axes.plot(*zip(*points, strict=True), label=f"{title}: {len(points)} configs")
        for block, style in zip(results.growth if name == OURS else (), itertools.cycle((":", "--", "-."))):
            longer = figures.running_seconds([block])
            label = f"{title}: a list of {len(longer)}, in a process of its own"
            axes.plot(*zip(*longer, strict=True), color=line.get_color(), linestyle=style, label=label)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="trials trained so far",
        ylabel="seconds a trial so far, start and shared work included",
        title=f"What a trial costs as a search goes on ({results.settings['epochs']} epochs each; lower is better)",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)
