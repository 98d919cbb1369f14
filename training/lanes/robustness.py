"""How lanes fare on the validation examples as others might have brought them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from ..data import shifted
from .group import LaneGroup


def score_shifted(group: LaneGroup, keys: Sequence[int]) -> None:
    """Gives each lane its `robust`: the mean of the metric over the forms of the validation examples.

    What frozen stages gave for these is kept as for any others, so another head costs next to nothing. A lane's seconds
    grow by its share of the time.

    Raises:
        Exception: what `LaneGroup.predict` raises; the lanes are as they were then.
    """
    started = time.perf_counter()
    metric = group.objective.metric
    values: dict[int, list[float]] = {key: [] for key in keys}
    for split in shifted(group.splits, group.task.modality):
        for key, predictions in group.predict(values, split).items():
            values[key].append(metric.value(predictions, split.labels))
    share = (time.perf_counter() - started) / max(len(keys), 1)
    for lane in group.lanes:
        if found := values.get(lane.key):
            lane.robust = statistics.fmean(found)
            lane.seconds += share
