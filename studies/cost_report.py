"""How the predicted seconds of a search came out, by groups of trials. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from .records import TrialRecord


@dataclass(frozen=True)
class GroupCost:
    """Trials that trained side by side: predicted and true seconds of all of them."""

    study: str
    rung: int | None
    trials: int
    predicted: float
    seconds: float


def costs_of_groups(records: Iterable[TrialRecord]) -> list[GroupCost]:
    """The groups of a study of which everything was predicted and ran to its end.

    A trial's prediction is an equal share of its group's, while what only some of them go through, such as all of
    cross-validation, is theirs alone: so trials by themselves say nothing.
    """
    found: dict[int, list[TrialRecord]] = {}
    for record in records:
        found.setdefault(record.group, []).append(record)
    return [
        GroupCost(
            trials[0].study,
            trials[0].rung,
            len(trials),
            sum(trial.predicted_seconds or 0.0 for trial in trials),
            sum(trial.seconds for trial in trials),
        )
        for trials in found.values()
        if all(trial.predicted_seconds and trial.state == "complete" for trial in trials)
    ]


@dataclass(frozen=True)
class Accuracy:
    """How predictions of `groups` of `trials` came out: the median of |predicted / true - 1|, and the median of
    predicted / true."""

    groups: int
    trials: int
    error: float
    drift: float


def accuracy_of(groups: Iterable[GroupCost]) -> Accuracy | None:
    """None where nothing was predicted."""
    groups = [group for group in groups if group.predicted > 0 and group.seconds > 0]
    if not groups:
        return None
    ratios = [group.predicted / group.seconds for group in groups]
    error = statistics.median(abs(ratio - 1) for ratio in ratios)
    return Accuracy(len(groups), sum(group.trials for group in groups), error, statistics.median(ratios))
