"""How far should stages that were fine-tuned stay from where they began? (docs/decisions/0032)

    python -m bench.fine_tune_kept --data DIR --elsewhere DIR --weights-dir DIR [--tasks fruit,...] [--seeds 0,...]

Trains the configs of the shipped portfolio that unfreeze stages, and scores each model at several points of the line
between what it was before its stages trained and what it was after: on `valid`, on the changed validation photos
(`robust`), on a fifth of `train` that was held back, and on photos by others (`elsewhere_of`), which nothing is trained
on and nothing is chosen by: of fruit those in `--elsewhere`, of cats_dogs and clothing other tasks' data in `--data`.
What `--out` has already is not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch

from search_spaces import Config
from studies.portfolio import shipped_portfolio
from training import LaneGroup, Split
from training.models.spec import FINE_TUNE_KEPT, UNFROZEN

from .unseen import KEY, run, scored, table, table_over_tasks, what_they_depend_on

KEPT = (0.0, 0.25, 0.5, 0.75, 1.0)
CONFIGS = [shipped.config for shipped in shipped_portfolio().configs if shipped.config.get(UNFROZEN)]
_LABEL = "kept"


def main(argv: Sequence[str] | None = None) -> int:
    return run("fine_tune_kept", __doc__, CONFIGS, trained, markdown, argv)


def trained(group: LaneGroup, _config: Config, splits: dict[str, Split]) -> list[dict[str, Any]]:
    """The lane of `group`, trained and scored at each point of `KEPT`."""
    cut, stages = group.structure.cut, group.stages
    before: list[dict[str, torch.Tensor]] = []
    for _ in range(group.epochs):
        if group.cut_of(KEY) != stages and not before:
            before = _parameters(group, cut)
        group.train_epoch()
    # It stands at a known point of the line, so the end of the line is known.
    drawn_back = _parameters(group, cut)
    after = [
        {name: begun[name] + (tensor - begun[name]) / FINE_TUNE_KEPT for name, tensor in one.items()}
        for begun, one in zip(before, drawn_back, strict=True)
    ]
    rows = []
    for kept in KEPT:
        with torch.no_grad():
            for module, begun, end in zip(_modules(group, cut), before, after, strict=True):
                for name, tensor in module.state_dict().items():
                    if name in end:
                        tensor.copy_(torch.lerp(begun[name], end[name], kept))
        rows.append({_LABEL: kept} | scored(group, splits))
    return rows


def markdown(figures: Mapping[str, Any]) -> str:
    """A table a task, under what they depend on."""
    rows = figures["rows"]
    parts = [
        "# How far fine-tuned stages should stay from where they began\n",
        f"Configs of the portfolio that train stages, {figures['settings']['epochs']} epochs. Each model was scored at "
        "several points of the line between what it was before its stages trained, 0, and what it was after, 1. In per "
        "cent: means over the runs. The fifth of `train` that was held back was not trained on, and photos elsewhere "
        f"are by other people; nothing is chosen by either. pomona keeps {FINE_TUNE_KEPT} "
        "(docs/decisions/0032).\n",
        what_they_depend_on(figures),
    ]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for name in tasks:
        parts += [f"## {name}\n", table([row for row in rows if row["task"] == name], _LABEL)]
    if len(tasks) > 1:
        parts += ["## All tasks, each counting once\n", table_over_tasks(rows, _LABEL)]
    return "\n".join(parts)


def _modules(group: LaneGroup, cut: int) -> list[torch.nn.Module]:
    model = group.model(KEY)
    return [*model.stages[cut:], model.head]


def _parameters(group: LaneGroup, cut: int) -> list[dict[str, torch.Tensor]]:
    """Copies of what is drawn back."""
    states = [module.state_dict() for module in _modules(group, cut)]
    return [{name: t.clone() for name, t in state.items() if t.is_floating_point()} for state in states]


if __name__ == "__main__":
    raise SystemExit(main())
