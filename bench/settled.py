"""What do optimizer and label smoothing do to photos of the same kind, and to those of other people?

    python -m bench.settled --data DIR --elsewhere DIR --weights-dir DIR [--tasks fruit,...] [--seeds 0,...]

Trains linear heads on frozen features of two backbones, and one backbone with its last stages, with two optimizers and
several degrees of smoothing. Scores them on `valid`, on the changed validation photos (`robust`), on a fifth of `train`
that was held back, and on photos by others (`elsewhere_of`), which nothing is trained on and no trial is chosen by: of
fruit those in `--elsewhere`, of cats_dogs and clothing other tasks' data in `--data`. What `--out` has already is not
trained again. What became of it is in docs/decisions/0033.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

from tabulate import tabulate

from search_spaces import Config
from search_spaces.benchmarks import settled_configs
from training import LaneGroup, Split, spec_of

from .elsewhere import TAKEN_ELSEWHERE
from .unseen import Row, mean_share, run, scored, table, table_over_tasks, what_they_depend_on

SMOOTHING = (0.0, 0.1, 0.2)
_BACKBONES = ("mobilenet_v2", "timm:tf_efficientnet_lite0")
_LABEL = "optimizer, smoothing"


def main(argv: Sequence[str] | None = None) -> int:
    return run("settled", __doc__, settled_configs(_BACKBONES, SMOOTHING), trained, markdown, argv)


def trained(group: LaneGroup, config: Config, splits: dict[str, Split]) -> list[dict[str, Any]]:
    """The lane of `group`, trained and scored."""
    for _ in range(group.epochs):
        group.train_epoch()
    spec = spec_of(config)
    label = f"{spec.optimizer.name}, {spec.head.label_smoothing:g}"
    kind = "its last stages too" if spec.backbone.unfrozen else "the head alone"
    return [{_LABEL: label, "kind": f"{spec.backbone.name}, {kind}"} | scored(group, splits)]


def markdown(figures: Mapping[str, Any]) -> str:
    """What is trained, a section each, with a table a task, under what they depend on."""
    rows = figures["rows"]
    parts = [
        "# What optimizer and label smoothing do at home and elsewhere\n",
        f"{figures['settings']['epochs']} epochs on plain photos of 224 pixels (`settled_configs`). In per cent: means "
        "over the runs. The fifth of `train` that was held back was not trained on, and photos elsewhere are by other "
        "people; no trial is chosen by either. Searches settle on AdamW (docs/decisions/0033).\n",
        what_they_depend_on(figures),
    ]
    parts += _first_seen(rows)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        parts.append(f"## {kind}\n")
        of_kind = [row for row in rows if row["kind"] == kind]
        tasks = list(dict.fromkeys(row["task"] for row in of_kind))
        for name in tasks:
            parts += [f"### {name}\n", table([row for row in of_kind if row["task"] == name], _LABEL)]
        if len(tasks) > 1:
            parts += ["### all tasks, each counting once\n", table_over_tasks(of_kind, _LABEL)]
    return "\n".join(parts)


def _first_seen(rows: Sequence[Row]) -> list[str]:
    """What each value does to photos elsewhere that nobody had measured on before the rule was written that decided."""
    tasks = [name for name in dict.fromkeys(row["task"] for row in rows) if name in TAKEN_ELSEWHERE]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    if not tasks:
        return []
    columns = list(itertools.product(tasks, kinds))
    cells: list[list[object]] = []
    for value in dict.fromkeys(row[_LABEL] for row in rows):
        means = [
            mean_share(
                [row for row in rows if (row["task"], row["kind"], row[_LABEL]) == (*column, value)], "elsewhere"
            )
            for column in columns
        ]
        cells.append([value, *(f"{100 * mean:.2f}" for mean in (*means, statistics.fmean(means)))])
    headings = [_LABEL, *(f"{name}: {kind}" for name, kind in columns), "mean"]
    return [
        "## On photos elsewhere that decided\n",
        "cats_dogs on the cats and dogs of CIFAR-10 (32 pixels, enlarged), clothing on dresses, shoes, T-shirts and "
        "trousers of Fashion-MNIST (28 pixels, grey on black). The rule by which they decide was written before the "
        "first figure was seen.\n",
        tabulate(cells, headings, tablefmt="github", disable_numparse=True) + "\n",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
