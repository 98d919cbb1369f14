"""What a recorded study says of its trials: how well they did after each epoch, and how long that took.

A study keeps the seconds of each trial, its share of its group, but not those of single epochs. So a trial's seconds
are spread evenly over its epochs, and what is computed once for a structure is what its first group took more than its
later ones, or more than its trials say that they took: opening what it trains on, choosing how.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces import Config, InputError
from studies import Study, TrialRecord
from studies.records import config_key
from studies.trial_times import end_times, start_times
from training import spec_of, structure_part

Spans = Mapping[int, tuple[float, float]]
"""When trials began and ended, by their numbers."""


@dataclass(frozen=True)
class Shape:
    """A structure. The first epoch takes `extra` seconds more where nothing of it has been computed yet.

    `shares` and `together` as the scheduler asks for them: whether trials have work in common, and whether they cost
    less side by side.
    """

    structure: Config
    extra: float
    shares: bool
    together: bool


@dataclass(frozen=True)
class RecordedTrial:
    """`values` after each epoch; `seconds` is this trial's share of one epoch of its group. `shape` is a key."""

    config: Config
    shape: str
    values: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Recording:
    """The trials of a study that came to their end, and their structures by key."""

    study: str
    epochs: int
    direction: str
    trials: tuple[RecordedTrial, ...]
    shapes: Mapping[str, Shape]

    def drawn(self, count: int, seed: int) -> list[RecordedTrial]:
        """So many trials, each as often as it comes."""
        return random.Random(seed).choices(self.trials, k=count)


def recording_of(study: Study) -> Recording:
    """Raises InputError where no trial of the study came to its end."""
    ends = end_times(study)
    spans = {number: (start, ends[number]) for number, start in start_times(study).items() if number in ends}
    settings = study.settings
    trials, shapes = table_of(study.records(), spans, settings.epochs)
    if not trials:
        raise InputError(f"no trial of study {study.name!r} came to its end: name another study")
    return Recording(study.name, settings.epochs, settings.direction, tuple(trials), shapes)


def table_of(records: Sequence[TrialRecord], spans: Spans, epochs: int) -> tuple[list[RecordedTrial], dict[str, Shape]]:
    """The trials of `epochs` epochs, and their structures."""
    groups: dict[str, dict[int, list[TrialRecord]]] = {}
    for record in records:
        # Trials that another one's record answered took no time.
        if record.confirms is None and record.seconds and record.curve and record.number in spans:
            key = config_key(structure_part(record.config))
            groups.setdefault(key, {}).setdefault(record.group, []).append(record)
    trials: list[RecordedTrial] = []
    shapes: dict[str, Shape] = {}
    for key, by_group in groups.items():
        own, extra = _costs([by_group[group] for group in sorted(by_group)], spans)
        whole = [record for group in by_group.values() for record in group if _is_whole(record, epochs)]
        trials += [_trial(record, key, own[record.group]) for record in whole]
        if whole:
            together = any(len(group) > 1 for group in by_group.values())
            shapes[key] = _shape(whole[0].config, extra, together=together)
    return trials, shapes


def _costs(groups: Sequence[Sequence[TrialRecord]], spans: Spans) -> tuple[dict[int, float], float]:
    """What share of each group's seconds is its trials' own, and the seconds of what was computed once."""
    least = min(_share(group) for group in groups)
    first = groups[0]
    own = {group[0].group: 1.0 for group in groups} | {first[0].group: least / _share(first)}
    took = max(spans[record.number][1] for record in first) - min(spans[record.number][0] for record in first)
    return own, max(took - least * sum(record.epochs for record in first), 0.0)


def _share(group: Sequence[TrialRecord]) -> float:
    """Seconds that one trial of a group takes for one epoch."""
    return sum(record.seconds for record in group) / sum(record.epochs for record in group)


def _is_whole(record: TrialRecord, epochs: int) -> bool:
    return record.state == "complete" and len(record.curve) == epochs


def _trial(record: TrialRecord, key: str, own: float) -> RecordedTrial:
    values = tuple(value for _, value in record.curve)
    return RecordedTrial(record.config, key, values, own * record.seconds / len(values))


def _shape(config: Config, extra: float, *, together: bool) -> Shape:
    try:
        shares = not spec_of(config).backbone.from_scratch
    except InputError:  # as the driver has it
        shares = False
    return Shape(structure_part(config), extra, shares, together)
