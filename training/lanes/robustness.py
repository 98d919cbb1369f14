"""How lanes fare on the validation examples as others might have brought them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data import shifted
from .group import LaneGroup


@dataclass(frozen=True, eq=False)
class Robustness:
    """`value` is the mean of the metric over the forms of the validation examples, `outputs` (forms, n, outputs) are
    what the lane gave for these; `seconds` are this lane's share."""

    value: float
    outputs: NDArray[np.floating[Any]]
    seconds: float


def score_shifted(group: LaneGroup, keys: Sequence[int]) -> dict[int, Robustness]:
    """How each of the lanes does on the forms of the validation examples; empty where there are none.

    What frozen stages gave for these is kept as for any others, so another head costs next to nothing.

    Raises:
        Exception: what `LaneGroup.predict` raises.
    """
    started = time.perf_counter()
    metric, absolute = group.objective.metric, group.objective.absolute
    values: dict[int, list[float]] = {key: [] for key in keys}
    given: dict[int, list[torch.Tensor]] = {key: [] for key in keys}
    for split in shifted(group.splits, group.task.modality):
        for key, (_, predictions, outputs) in group.scores(values, split).items():
            values[key].append(metric.value(predictions, split.labels))
            given[key].append(absolute(outputs).cpu())
    share = (time.perf_counter() - started) / max(len(keys), 1)
    return {
        key: Robustness(statistics.fmean(found), torch.stack(given[key]).numpy(), share)
        for key, found in values.items()
        if found
    }
