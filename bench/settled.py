"""What do optimizer and label smoothing do to photos of the same kind, and to those of other people?

    python -m bench.settled --data DIR --elsewhere DIR --weights-dir DIR [--tasks fruit,...] [--seeds 0,...]

Trains linear heads on frozen features of two backbones, and one backbone with its last stages, with two optimizers and
several degrees of smoothing. Scores them on `valid`, on the changed validation photos (`robust`), on a fifth of `train`
that was held back, and, of fruit, on the photos by others in `--elsewhere`, which nothing is trained on and no trial is
chosen by. What `--out` has already is not trained again. What became of it is in docs/decisions/0033.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

from search_spaces import Config
from search_spaces.benchmarks import settled_configs
from training import LaneGroup, Split, spec_of

from .unseen import run, scored, table, table_over_tasks, what_they_depend_on

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
        "people; no trial is chosen by either. Searches settle on AdamW and a smoothing of 0.1 with these figures in "
        "view, so photos elsewhere are no independent test of that any more (docs/decisions/0033).\n",
        what_they_depend_on(figures),
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        parts.append(f"## {kind}\n")
        of_kind = [row for row in rows if row["kind"] == kind]
        tasks = list(dict.fromkeys(row["task"] for row in of_kind))
        for name in tasks:
            parts += [f"### {name}\n", table([row for row in of_kind if row["task"] == name], _LABEL)]
        if len(tasks) > 1:
            parts += ["### all tasks, each counting once\n", table_over_tasks(of_kind, _LABEL)]
    return "\n".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
