"""What does label smoothing do to photos of the same kind, and to those of other people? (docs/decisions/0033)

    python -m bench.label_smoothing --data DIR --elsewhere DIR --weights-dir DIR [--tasks fruit,...] [--seeds 0,...]

Trains linear heads on frozen features of two backbones, with two optimizers, and one head with stages, at several
degrees of smoothing. Scores them on `valid`, on the changed validation photos (`robust`), on a fifth of `train` that
was held back, and, of fruit, on the photos by others in `--elsewhere`, which nothing is trained on and nothing is
chosen by. What `--out` has already is not trained again.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

from search_spaces import Config
from search_spaces.benchmarks import smoothing_configs
from training import LaneGroup, Split, spec_of

from .unseen import options_of, scored, table, table_over_tasks, what_they_depend_on, written

SMOOTHING = (0.0, 0.05, 0.1, 0.15, 0.2)
_BACKBONES = ("mobilenet_v2", "timm:tf_efficientnet_lite0")
_PROGRAM = "bench.label_smoothing"
_LABEL = "smoothing"


def main(argv: Sequence[str] | None = None) -> int:
    summary = (__doc__ or "").splitlines()[0]
    options = options_of(_PROGRAM, summary, Path("results/label_smoothing"), argv)
    command = f"python -m {_PROGRAM} {shlex.join(sys.argv[1:] if argv is None else argv)}"
    return written(options, command, smoothing_configs(_BACKBONES, SMOOTHING), trained, markdown)


def trained(group: LaneGroup, config: Config, splits: dict[str, Split]) -> list[dict[str, Any]]:
    """The lane of `group`, trained and scored."""
    for _ in range(group.epochs):
        group.train_epoch()
    spec = spec_of(config)
    about = {_LABEL: spec.head.label_smoothing, "stages": spec.backbone.unfrozen}
    return [about | scored(group, splits)]


def markdown(figures: Mapping[str, Any]) -> str:
    """Heads and stages apart, a table a task, under what they depend on."""
    rows = figures["rows"]
    parts = [
        "# What label smoothing does at home and elsewhere\n",
        f"{figures['settings']['epochs']} epochs on plain photos of 224 pixels: linear heads on frozen "
        f"{' and '.join(_BACKBONES)} with AdamW and SGD, and {_BACKBONES[0]} with the last stages trained "
        "(`smoothing_configs`). In per cent: means over the runs. The fifth of `train` that was "
        "held back was not trained on, and photos elsewhere are by other people; nothing is chosen by either.\n",
        what_they_depend_on(figures),
    ]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for title, of_kind in (
        ("Heads on frozen features", [row for row in rows if not row["stages"]]),
        ("With stages", [row for row in rows if row["stages"]]),
    ):
        parts.append(f"## {title}\n")
        for name in tasks:
            parts += [f"### {title}: {name}\n", table([row for row in of_kind if row["task"] == name], _LABEL)]
        if len(tasks) > 1:
            parts += [f"### {title}: all tasks, each counting once\n", table_over_tasks(of_kind, _LABEL)]
    return "\n".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
