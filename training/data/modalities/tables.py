"""Tables: the rows of a CSV file, and a table that our own code generates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_spaces import Choice, InputError, Task

from ...machine.display import number_text
from ..previews import Numbers
from ..splits import Labelled, Split
from ..tables import GENERATED, TableSet, generate_bonus, read_features, read_labelled_rows, read_table
from .modality import InputSignature, Kind, Modality, ModelInput, Reading, check_undivided, number_in, numbered

_MOST_FEATURES = 23
# What networks for tables are called, with their number of features: see models/backbones/table.py.
_NETWORK = re.compile(r"table:([1-9]\d*)")
_CLIENT = {
    "input": "floats (batch, features), the numbers as they are, in the order of columns, without the last one",
    "inside the model": "minus the training rows' mean, divided by their deviation",
}


class Tables(Modality):
    """`generated` or `generated:SEED`, else a CSV file, or a folder that holds one."""

    noun = "rows"
    preview_size = (500, 10_000)
    has_columns = True

    def wanted(self, task: Task) -> str:
        return f"--data FILE: a CSV file with the columns {', '.join(task.columns)}"

    def check_task(self, task: Task) -> None:
        super().check_task(task)
        features = len(task.columns) - 1
        choices = [(n, d) for n, d in task.space.dimensions.items() if isinstance(d, Choice)]
        for name, network in [(name, value) for name, choice in choices for value in choice.possible]:
            found = _NETWORK.fullmatch(str(network))
            if found is not None and int(found[1]) != features:
                raise InputError(
                    f"task {task.name} has {features} feature{'s' if features > 1 else ''} "
                    f"({', '.join(task.columns[:-1])}), but its {name} is {network}: make it table:{features}"
                )

    def open(self, source: str | Path, kind: Kind, reading: Reading) -> TableSet:
        if _is_generated(source):
            return _generated(str(source), kind)
        return read_table(Path(source), kind.columns, numeric=kind.numeric, seed=reading.seed)

    def open_labelled(
        self,
        source: str,
        classes: Sequence[str],
        kind: Kind,
        split: str | None,
        resolution: int,
        reading: Reading,
    ) -> Labelled:
        check_undivided(source, split)
        if _is_generated(source):
            return Labelled(_generated(source, kind).whole())
        return Labelled(read_labelled_rows(Path(source), kind.columns, classes, numeric=kind.numeric))

    def unlabelled(self, paths: Sequence[Path], kind: Kind, resolution: int) -> tuple[Tensor, tuple[str, ...]]:
        tables = [read_features(path, kind.columns[:-1]) for path in paths]
        return torch.cat(tables), tuple(numbered(paths, [len(rows) for rows in tables], "row"))

    def preview(self, split: Split, index: Tensor, classes: Sequence[str], columns: Sequence[str] = ()) -> Numbers:
        """Before they are standardised; of many features the first ones."""
        features, target = split.take(index)
        *names, last = columns
        return Numbers(
            names=(*names[:_MOST_FEATURES], last),
            features=features[:, :_MOST_FEATURES].numpy(),
            target=target.numpy().astype(np.float64),
            targets=split.labels.numpy().astype(np.float64),
            left_out=max(len(names) - _MOST_FEATURES, 0),
        )

    def described(self, split: Split, index: int, columns: Sequence[str] = ()) -> str:
        (row,), _ = split.take(torch.tensor([index]))
        cells = (f"{column} {number_text(value)}" for column, value in zip(columns, row.tolist(), strict=False))
        return f"{split.names[index]}: {', '.join(cells)}"

    def signature(self, kind: Kind, model: ModelInput) -> InputSignature:
        """With as many bits as the columns are standardised with."""
        fitted = next(iter(model.fitted.values()), None)
        return InputSignature("table", (len(kind.columns) - 1,), torch.float32 if fitted is None else fitted.dtype)

    def inputs_text(self, signature: InputSignature, columns: Sequence[str] = ()) -> str:
        return f" from {', '.join(columns[:-1])}"

    def export_metadata(self, model: ModelInput) -> dict[str, Any]:
        return {"table": _CLIENT}


def _is_generated(source: str | Path) -> bool:
    return isinstance(source, str) and source.partition(":")[0] == GENERATED


def _generated(source: str, kind: Kind) -> TableSet:
    made = generate_bonus(seed=number_in(source, GENERATED))
    if made.columns != kind.columns:
        raise InputError(f"generated data has the columns {', '.join(made.columns)}: name a CSV file with --data")
    return made
