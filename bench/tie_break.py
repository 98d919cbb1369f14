"""Of trials that `valid` can't tell apart, which one should a search name?

    python -m bench.tie_break --data DIR --elsewhere DIR --weights-dir DIR [--tasks fruit,...] [--seeds 0,...]

Trains linear heads on frozen features of four backbones, and three of them with their last stages. Scores them on
`valid`, on the changed validation photos (`robust`), on a fifth of `train` that was held back, and on photos by others
(`elsewhere_of`), which nothing is trained on and no trial is chosen by. Then draws some of them again and again, as a
search might have tried them, and says what three rules name. What `--out` has already is not trained again.

What is to come of it, written before the first figure: trials are to be ranked by `robust` across all weights if what
that names is better on photos elsewhere by at least a point, in the mean over the tasks in `TAKEN_ELSEWHERE`, than what
it names among the same weights, is worse on no more than one of them, and is worse on the photos that were held back by
no more than 0.3 points, in the mean over all tasks. Fruit elsewhere has no say. What became of it is in docs/log.md.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

from tabulate import tabulate

from search_spaces import Config
from search_spaces.benchmarks import tie_break_configs
from studies.portfolio import shipped_portfolio
from studies.ranking import by_value, ranked
from studies.records import TrialRecord
from training import LaneGroup, Split, State, spec_of

from .elsewhere import TAKEN_ELSEWHERE
from .unseen import KEY, Row, mean_share, run, scored, table, what_they_depend_on

_BACKBONES = ("mobilenet_v2", "timm:tf_efficientnet_lite0", "squeezenet1_1")
_ONLY_HEADS = ("resnet50",)
DRAWN = 12
"""Models that a search might have tried."""
_DRAWS = 500
_SCORES = ("valid", "held back", "elsewhere")
_DIRECTION = "maximize"


def _by_value(records: Sequence[TrialRecord]) -> TrialRecord:
    return min(records, key=lambda record: by_value(record, _DIRECTION))


def _of_same_weights(records: Sequence[TrialRecord]) -> TrialRecord:
    return ranked(records, _DIRECTION)[0]


def _of_all(records: Sequence[TrialRecord]) -> TrialRecord:
    return ranked([replace(record, weights="") for record in records], _DIRECTION)[0]


RULES: Mapping[str, Callable[[Sequence[TrialRecord]], TrialRecord]] = {
    "the best on `valid`": _by_value,
    "by `robust` among those tied with it that have its weights": _of_same_weights,
    "by `robust` among all tied with it": _of_all,
}


def main(argv: Sequence[str] | None = None) -> int:
    found = [shipped.config for shipped in shipped_portfolio().configs]
    return run("tie_break", __doc__, tie_break_configs(_BACKBONES, _ONLY_HEADS, found), trained, markdown, argv)


def trained(group: LaneGroup, config: Config, splits: dict[str, Split]) -> list[dict[str, Any]]:
    """The lane of `group`, trained and scored, with what its rank depends on."""
    for _ in range(group.epochs):
        group.train_epoch()
    result, backbone = group.result(KEY, State.COMPLETE), spec_of(config).backbone
    known = {
        "weights": backbone.name,
        "unfrozen": backbone.unfrozen,
        "ci95": result.estimate and list(result.estimate.ci95),
        "group_value": result.grouped and result.grouped.value,
        "groups_ci95": result.grouped and list(result.grouped.ci95),
    }
    return [known | scored(group, splits)]


def record_of(row: Row, number: int) -> TrialRecord:
    """The row as a trial that ran to its end."""
    return TrialRecord(
        study="",
        data="",
        number=number,
        state=str(State.COMPLETE),
        reason="",
        config={},
        value=row["shares"]["valid"],
        n=row["n"]["valid"],
        ci95=row["ci95"] and tuple(row["ci95"]),
        group_value=row["group_value"],
        n_groups=0,
        groups_ci95=row["groups_ci95"] and tuple(row["groups_ci95"]),
        epochs=0,
        seconds=0.0,
        images_per_second=None,
        parameters=0,
        seed=0,
        engine="",
        weights=row["weights"],
        note="",
        robust=row["shares"]["robust"],
    )


def named(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """What each rule names of each draw from the rows of one task."""
    rng, records = random.Random(0), [record_of(row, number) for number, row in enumerate(rows)]
    draws = [rng.sample(records, min(DRAWN, len(records))) for _ in range(_DRAWS)]
    return {rule: [rows[name(drawn).number] for drawn in draws] for rule, name in RULES.items()}


def markdown(figures: Mapping[str, Any]) -> str:
    """What each rule names, a table a task and one over those tasks that decide, under what they depend on."""
    rows = figures["rows"]
    parts = [
        "# Which of the trials that `valid` can't tell apart is named\n",
        f"{figures['settings']['epochs']} epochs (`tie_break_configs`). In per cent: means over {_DRAWS} draws of "
        f"{DRAWN} of the models that were trained, of the one that each rule names; a draw shares models with others, "
        "so there is no interval. The fifth of `train` that was held back was not trained on, and photos elsewhere are "
        "by other people; no trial is chosen by either.\n",
        what_they_depend_on(figures),
    ]
    found = {task: named([row for row in rows if row["task"] == task]) for task in figures["fingerprints"]}
    for task, of_rules in found.items():
        named_rows = [{**row, "rule": rule} for rule, of_rule in of_rules.items() for row in of_rule]
        trained_rows = [
            {**row, "kind": f"{row['weights']}, {'stages' if row['unfrozen'] else 'head'}"}
            for row in rows
            if row["task"] == task
        ]
        parts += [f"## {task}\n", table(named_rows, "rule"), table(trained_rows, "kind")]
    decide = [task for task in found if task in TAKEN_ELSEWHERE]
    if decide:
        parts += [
            "## The mean over tasks\n",
            f"On photos elsewhere over {', '.join(decide)}, else over all. How these decide was written in the "
            "benchmark before the first figure was seen.\n",
            _over_tasks(found, decide),
        ]
    return "\n".join(parts)


def _over_tasks(found: Mapping[str, Mapping[str, Sequence[Row]]], decide: Sequence[str]) -> str:
    cells: list[list[object]] = []
    for rule in RULES:
        cells.append([rule])
        for score in _SCORES:
            tasks = decide if score == "elsewhere" else list(found)
            cells[-1].append(f"{100 * statistics.fmean(mean_share(found[task][rule], score) for task in tasks):.2f}")
    return tabulate(cells, ["rule", *_SCORES], tablefmt="github", disable_numparse=True) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
