"""What a search has tried, by structure: trials, groups, and what they say of the error."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field

from search_spaces import Config

from .gain import Observation, Point, log_error
from .strategy import Finished, Ladder, TriedStages

# A trial whose error is so many standard deviations above that of heads is not going to be the best.
_HOPELESS = 2.5
# A structure whose trials were all given up is no better than its heads: with this standard deviation it is as good.
_GIVEN_UP = 0.2
# What training the same stages in another way changes, before any were (standard deviation, in the logarithm of the
# error), and how many trials that is worth.
_SPREAD, _WORTH = 0.15, 4
# What a whole climb from the lowest to the highest value is expected to be worth, in the logarithm of the error.
_EXPECTED_BASE, _EXPECTED_CLIMBS = -0.5, (-0.08, -0.2)


@dataclass(eq=False)
class Tried:
    """A structure that was tried: its trials that have a value, and the configs of those that were given up."""

    structure: Config
    trials: list[Finished] = field(default_factory=list)
    given_up: list[Config] = field(default_factory=list)
    groups: int = 0
    under_way: int = 0


class TriedStructures:
    """The structures that were tried, and the orders that a strategy goes by."""

    def __init__(self, ladder: Ladder, metric: str, direction: str) -> None:
        self._ladder = ladder
        self._metric, self._direction = metric, direction
        self.all: dict[tuple[object, ...], Tried] = {}
        self.leaders: dict[tuple[object, ...], list[Finished]] = {}
        """The best trial of each structure, best first, by `root`; as of the last `lead`."""
        self.stages: dict[tuple[object, ...], list[TriedStages]] = {}
        """What trained stages, by backbone; as of the last `lead`."""
        # By how much the logarithm of the error differs between the fixed split and cross-validation: of all that have
        # both, the sum, as their mean is asked for at every decision for every trial.
        self._apart, self._crossed = 0.0, 0
        self._points: dict[tuple[object, ...], Point] = {}

    def ended(self, trial: Finished) -> None:
        """A trial has ended, with a value or without."""
        tried = self.entry(trial.config)
        tried.groups = max(tried.groups, 1)
        if trial.given_up:
            tried.given_up.append(trial.config)
        if trial.value is not None and math.isfinite(trial.value):
            tried.trials.append(trial)
            if trial.crossed is not None:
                fixed, _ = log_error(trial.value, self._metric, self._direction, trial.n)
                crossed, _ = log_error(trial.crossed, self._metric, self._direction, trial.crossed_n)
                self._apart += fixed - crossed
                self._crossed += 1

    def entry(self, config: Config) -> Tried:
        return self.all.setdefault(self.key(config), Tried(self.structure_of(config)))

    def is_under_way(self, config: Config) -> bool:
        known = self.all.get(self.key(config))
        return known is not None and known.under_way > 0

    def is_being_computed(self, structure: Config) -> bool:
        """Whether the first trials on the features of `structure` are under way, so that these are not there yet."""
        base = self.base(structure)
        same = [tried for tried in self.all.values() if self.base(tried.structure) == base]
        return any(tried.under_way for tried in same) and not any(tried.trials for tried in same)

    def measured(self, trial: Finished) -> tuple[float, float]:
        """The logarithm of a trial's error, and its noise.

        Cross-validation is of more examples, so less a matter of luck, but of other ones: what sets the two apart on
        average is made up for, so that trials with and without it can be compared.
        """
        assert trial.value is not None
        if trial.crossed is None:
            return log_error(trial.value, self._metric, self._direction, trial.n)
        value, noise = log_error(trial.crossed, self._metric, self._direction, trial.crossed_n)
        return value + self._apart / self._crossed, noise

    def _order(self, trial: Finished) -> tuple[float, int]:
        return self.measured(trial)[0], trial.number

    def observed(self, tried: Tried) -> tuple[float, float]:
        """Of the best fifth of a structure's trials, so that many heads are not better by luck alone."""
        measured = sorted(map(self.measured, tried.trials))[: -(-len(tried.trials) // 5)]
        return sum(value for value, _ in measured) / len(measured), sum(noise for _, noise in measured) / len(measured)

    def observations(self) -> list[Observation]:
        """Of every structure that came to something, or to nothing good."""
        found = []
        for tried in self.all.values():
            if tried.trials:
                found.append(Observation(self.point(tried.structure), *self.observed(tried)))
            elif tried.given_up and (heads := self.heads_of(tried.structure)):
                value, noise = min(map(self.observed, heads))
                found.append(Observation(self.point(tried.structure), value, noise + _GIVEN_UP**2))
        return found

    def spread(self) -> float:
        """What training the same stages in another way changes, by those that were: a standard deviation.

        No more than what is taken for it before: on few examples it is chance that sets trials apart.
        """
        squares, freedom = _WORTH * _SPREAD**2, float(_WORTH)
        for tried in self.all.values():
            if len(tried.trials) > 1 and self.trains_stages(tried.structure):
                values = [self.measured(trial)[0] for trial in tried.trials]
                middle = statistics.median(values)
                # A rate that is far too high says nothing about good ones.
                squares += sum(min(abs(value - middle), _SPREAD) ** 2 for value in values)
                freedom += len(values) - 1
        return math.sqrt(squares / freedom)

    def lead(self) -> None:
        """Finds the best trial of each structure, best first; by what climbing leaves as it is."""
        self.leaders = {}
        for tried in self.all.values():
            if tried.trials:
                best = min(tried.trials, key=self._order)
                self.leaders.setdefault(self.root(tried.structure), []).append(best)
        for trials in self.leaders.values():
            trials.sort(key=self._order)
        self.stages = {}
        for tried in self.all.values():
            if self.trains_stages(tried.structure):
                known = self.stages.setdefault(self.backbone(tried.structure), [])
                known += [TriedStages(config, None) for config in tried.given_up]
                for trial in tried.trials:
                    error, _ = self.measured(trial)
                    known.append(TriedStages(trial.config, None if self.is_hopeless(tried.structure, error) else error))

    def is_hopeless(self, structure: Config, error: float) -> bool:
        """Whether stages with this logarithm of their error are clearly worse than heads on what they begin with.

        They are not measured against the luckiest of many heads.
        """
        heads = self.heads_of(structure)
        if not heads:
            return False
        before, noise = min(map(self.observed, heads))
        return error > before + _HOPELESS * math.sqrt(noise)

    def trains_stages(self, structure: Config) -> bool:
        return self._ladder.rung(structure) == len(self._ladder.climbs)

    def heads_of(self, structure: Config) -> list[Tried]:
        """What was tried of heads that can be promoted to `structure`."""
        root = self.root(structure)
        return [
            each
            for each in self.all.values()
            if each.trials and self.root(each.structure) == root and not self.trains_stages(each.structure)
        ]

    def groups_of_base(self) -> Counter[tuple[object, ...]]:
        groups: Counter[tuple[object, ...]] = Counter()
        for each in self.all.values():
            if not self.trains_stages(each.structure):
                groups[self.base(each.structure)] += each.groups
        return groups

    def best_bases(self, count: int) -> list[Tried]:
        """Of each of the best features the structure at rung 0 that did best."""
        found: dict[tuple[object, ...], Tried] = {}
        for each in self.all.values():
            if not each.trials or self._ladder.rung(each.structure):
                continue
            base = self.base(each.structure)
            if base not in found or self.observed(each) < self.observed(found[base]):
                found[base] = each
        return sorted(found.values(), key=self.observed)[:count]

    def point(self, structure: Config) -> Point:
        key = self.key(structure)
        if (known := self._points.get(key)) is not None:
            return known
        ladder = self._ladder
        ordered = [name for name in ladder.names if ladder.is_ordered(name)]
        categories = [name for name in ladder.names if not ladder.is_ordered(name)]
        positions = {name: ladder.position(name, structure.get(name)) for name in ordered}
        prior = sum(_EXPECTED_BASE * positions.get(name, 0.0) for name in ladder.base)
        for names, worth in zip(ladder.climbs, _EXPECTED_CLIMBS, strict=False):
            prior += worth * max((positions.get(name, 0.0) for name in names), default=0.0)
        point = Point(tuple(structure.get(name) for name in categories), tuple(positions.values()), prior)
        self._points[key] = point
        return point

    def structure_of(self, config: Config) -> Config:
        return {name: config[name] for name in self._ladder.names if name in config}

    def key(self, config: Config) -> tuple[object, ...]:
        return tuple(config.get(name) for name in self._ladder.names)

    def base(self, structure: Config) -> tuple[object, ...]:
        return tuple(self.base_of(structure).values())

    def base_of(self, structure: Config) -> Config:
        return {name: structure[name] for name in self._ladder.base if name in structure}

    def backbone(self, structure: Config) -> tuple[object, ...]:
        """What of the features has no order."""
        return tuple(structure.get(name) for name in self._ladder.base if not self._ladder.is_ordered(name))

    def root(self, structure: Config) -> tuple[object, ...]:
        return tuple(structure.get(name) for name in (*self._ladder.base, *self._ladder.free))
