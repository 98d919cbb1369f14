"""Cheap first, expensive earned: which structure trains next, by what it may gain and what it costs.

Rung 0 trains heads on frozen features, many side by side; rung 1 trains them on augmented views; rung 2 trains stages
too. A trial is a whole config at every rung, so that its value is that of a model that can be made again. Promotion
makes a new trial of its parent's config with the dimensions of the next rung raised (docs/decisions/0024).

What comes next is the structure with the highest expected gain a predicted second (`gain.py`). Outputs that are kept
make a structure cheap, so what was computed steers the search. Pure: no clock and no torch, so that it can be tested on
recorded results.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from search_spaces import Config

from .gain import Observation, Point, Surface, expected_gain, log_error

# The first group is to end soon: so many seconds at most where the machine can do it.
_OPENING_SECONDS = 8.0
# Of the decisions, every so many goes to a structure that was never tried, whatever is expected of it.
_EXPLORE = 6
# Such a one may take this share of the time left, and so may the recipe.
_SHARE = 0.1
# More time than this, in seconds, makes nobody more patient.
_LONG = 3600.0
# Structures above rung 0 are considered on the features of so many of the best.
_BEST_BASES = 3
# What a second group of heads on the same features, or a second way to train the same stages, changes (standard
# deviation); the n-th changes an n-th of it.
_MORE = 0.15
# Of the time left, what one group may take while there is something cheaper that gains this share of what it does.
_MOST, _WORTH = 0.25, 0.2
# A gain is worth as much a second whether it takes one or two of a hundred that are left: this share of the time left
# counts as part of every cost.
_PATIENCE = 0.02
# How much better a config of the portfolio is expected to be than others of its structure, in the same logarithm.
_KNOWN_TO_BE_GOOD = -0.1
# What a whole climb from the lowest to the highest value is expected to be worth, in the logarithm of the error.
_EXPECTED_BASE, _EXPECTED_CLIMBS = -0.5, (-0.08, -0.2)
# Where nothing is frozen, the first so many trials are each the cheapest of so many random structures.
_CHEAP_FIRST, _DRAWN = 4, 8
# A trial whose error is so many standard deviations above its parent's is not going to be the best.
_HOPELESS = 2.0
# Predictions are off: a run that would end at the last moment would not.
_MARGIN = 1.15


class Cost(Protocol):
    @property
    def seconds(self) -> float: ...


class Costs(Protocol):
    """What predicts costs; `training.lanes.costs.CostModel`."""

    def predict(
        self, config: Config, lanes: int = 1, *, robust: bool = False, cross_validate: bool = False
    ) -> Cost: ...


class Ladder(Protocol):
    """What knows the structures of a space; `training.models.ladder.Ladder`."""

    @property
    def base(self) -> tuple[str, ...]: ...
    @property
    def free(self) -> tuple[str, ...]: ...
    @property
    def climbs(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def small(self) -> Config: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def bases(self) -> tuple[Config, ...]: ...
    def free_values(self) -> tuple[Config, ...]: ...
    def lowest(self, chosen: Config) -> Config: ...
    def above(self, base: Config, free: Config) -> tuple[Config, ...]: ...
    def rung(self, config: Config) -> int: ...
    def position(self, name: str, value: float | int | str | bool | None) -> float: ...
    def below(self, lower: Config, higher: Config) -> bool: ...
    def is_ordered(self, name: str) -> bool: ...
    def completed(self, config: Config) -> Config: ...


@dataclass(frozen=True)
class Arm:
    """What the next group trains.

    `structure` is common to its trials, and `common` values of their heads. `first` are further values of its first
    trial, all of its config where it was promoted from the trial `parent`, is the recipe or was `shipped` in the
    portfolio; the other `lanes` - 1 are the sampler's. `seconds` are those that are predicted of the group. `robust`
    and `cross_validate` as in `training.Job`.
    """

    structure: Config
    first: Config = field(default_factory=dict)
    common: Config = field(default_factory=dict)
    rung: int = 0
    lanes: int = 1
    parent: int | None = None
    recipe: bool = False
    shipped: bool = False
    seconds: float = 0.0
    robust: bool = False
    cross_validate: bool = False


@dataclass(frozen=True)
class Finished:
    """A trial that ended: its value of `n` examples, and that of cross-validation on `crossed_n`; None for none."""

    number: int
    config: Config
    value: float | None
    n: int
    crossed: float | None = None
    crossed_n: int = 0


class Strategy(Protocol):
    """What decides which structure is next: `Rungs`, or `Whole` where nothing is frozen."""

    recipe_done: bool
    """Whether the recipe has been run."""
    recipe_seconds: float | None
    """What the recipe was last expected to take; None where nobody asked yet."""

    def began(self, config: Config) -> None:
        """A group was given out whose trials have the structure of `config`."""

    def done(self, config: Config) -> None:
        """It has ended."""

    def ended(self, trial: Finished) -> None:
        """A trial has ended, now or in an earlier process."""

    def next(self, left: float, trials: int | None = None) -> Arm | None:
        """The next group, to be trained in `left` seconds and with `trials` more trials at most; None to end.

        The first group is given whatever it takes: a search has to come to something.
        """

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        """Whether a trial under way is to be given up at this value."""


@dataclass(eq=False)
class _Tried:
    """A structure that was tried, and its trials that have a value."""

    structure: Config
    trials: list[Finished] = field(default_factory=list)
    groups: int = 0
    under_way: int = 0


@dataclass(frozen=True)
class _Candidate:
    structure: Config
    lanes: int
    gain: float
    seconds: float
    parent: Finished | None = None
    config: Config | None = None
    robust: bool = False


class Rungs:
    """Decides the next group of a study.

    Args:
        lanes: the most trials that train side by side.
        recipe: the task's, complete.
        portfolio: configs that were good on other tasks.
    """

    def __init__(
        self,
        ladder: Ladder,
        costs: Costs,
        *,
        metric: str,
        direction: str,
        lanes: int,
        seed: int,
        recipe: Config,
        portfolio: Sequence[Config] = (),
    ) -> None:
        self._ladder = ladder
        self._costs = costs
        self._metric, self._direction = metric, direction
        self._lanes = lanes
        self._seed = seed
        self._recipe = recipe
        self.recipe_done = False
        self._portfolio = list(portfolio)
        # By how much the logarithm of the error differs between the fixed split and cross-validation.
        self._apart: list[float] = []
        self._tried: dict[tuple[object, ...], _Tried] = {}
        self._decisions = 0
        self._middle = ladder.free_values()[len(ladder.free_values()) // 2]
        self._lowest = [ladder.lowest(base | free) for free in ladder.free_values() for base in ladder.bases()]
        self._above: dict[tuple[object, ...], tuple[Config, ...]] = {}
        # What structures cost, by backbone: known until a group of that backbone teaches better.
        self._seconds: dict[tuple[object, ...], dict[tuple[object, ...], float]] = {}
        self._left = math.inf
        self._leaders: dict[tuple[object, ...], list[Finished]] = {}
        self._points: dict[tuple[object, ...], Point] = {}
        self.recipe_seconds: float | None = None
        """What the recipe was last expected to take."""

    # --- what happened

    def began(self, config: Config) -> None:
        tried = self._entry(config)
        tried.groups += 1
        tried.under_way += 1
        self._decisions += 1

    def done(self, config: Config) -> None:
        tried = self._entry(config)
        tried.under_way = max(tried.under_way - 1, 0)
        self._seconds.pop(_unordered(self._ladder, config), None)

    def ended(self, trial: Finished) -> None:
        if trial.config == self._recipe:
            self.recipe_done = True
        self._portfolio = [config for config in self._portfolio if config != trial.config]
        tried = self._entry(trial.config)
        tried.groups = max(tried.groups, 1)
        if trial.value is not None and math.isfinite(trial.value):
            tried.trials.append(trial)
            if trial.crossed is not None:
                fixed, _ = log_error(trial.value, self._metric, self._direction, trial.n)
                crossed, _ = log_error(trial.crossed, self._metric, self._direction, trial.crossed_n)
                self._apart.append(fixed - crossed)

    # --- what comes next

    def next(self, left: float, trials: int | None = None) -> Arm | None:
        self._left = left
        lanes = self._lanes if trials is None else max(min(self._lanes, trials), 1)
        if not any(tried.groups for tried in self._tried.values()):
            return self._opening(lanes)
        self._lead()
        if (arm := self._recipe_arm(left)) is not None:
            return arm
        if (candidate := self._next_backbone(left, lanes)) is not None:
            return self._arm(candidate)
        if self._decisions % _EXPLORE == _EXPLORE - 1 and (candidate := self._never_expected(left, lanes)) is not None:
            return self._arm(candidate)
        fitting = [each for each in self._candidates(lanes) if each.seconds * _MARGIN <= left]
        if not fitting:
            return None
        patience = _PATIENCE * min(left, _LONG)
        # Nothing takes a large part of the time left while there is anything else that is worth something.
        most = max(each.gain for each in fitting)
        modest = [each for each in fitting if each.seconds <= _MOST * left]
        if max((each.gain for each in modest), default=0.0) >= _WORTH * most:
            fitting = modest
        return self._arm(max(fitting, key=lambda each: each.gain / (each.seconds + patience)))

    def _next_backbone(self, left: float, lanes: int) -> _Candidate | None:
        """Heads on a backbone that was not tried yet, at the highest resolution that is affordable."""
        seen = {_unordered(self._ladder, each.structure) for each in self._tried.values()}
        found: dict[tuple[object, ...], _Candidate] = {}
        for base in self._ladder.bases():
            backbone = _unordered(self._ladder, base)
            if backbone not in seen:
                candidate = self._costed(self._ladder.lowest(base | self._middle), lanes)
                if candidate.seconds <= _SHARE * left:
                    found[backbone] = candidate  # resolutions rise
        return min(found.values(), key=lambda each: each.seconds, default=None)

    def _never_expected(self, left: float, lanes: int) -> _Candidate | None:
        """A structure that was never tried, at random, of those that are affordable."""
        generator = random.Random(f"{self._seed} {self._decisions}")
        structures = self._never_tried()
        for structure in generator.sample(structures, min(len(structures), 10)):
            candidate = self._costed(structure, lanes)
            if candidate.seconds <= _SHARE * left:
                return candidate
        return None

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        """Once stages train, a trial that is clearly worse than the one it was promoted from goes."""
        if arm.parent is None or not self._trains_stages(arm.structure):
            return False
        parent = next(
            (trial for tried in self._tried.values() for trial in tried.trials if trial.number == arm.parent), None
        )
        if parent is None or parent.value is None:
            return False
        # Both on the fixed split.
        before, noise = log_error(parent.value, self._metric, self._direction, parent.n)
        now, _ = log_error(value, self._metric, self._direction, parent.n)
        return now > before + _HOPELESS * math.sqrt(noise)

    def _opening(self, lanes: int) -> Arm:
        """Heads on the features of the first backbone, at the highest resolution that is quick."""
        bases = self._ladder.bases()
        preferred = [base for base in bases if _unordered(self._ladder, base) == _unordered(self._ladder, bases[0])]
        costed = [self._costed(self._ladder.lowest(base | self._middle), lanes) for base in preferred]
        quick = [each for each in costed if each.seconds <= _OPENING_SECONDS]
        # The costs of one backbone rise with its resolution.
        chosen = quick[-1] if quick else min(costed, key=lambda each: each.seconds)
        first = self._ladder.completed(self._recipe | chosen.structure | self._ladder.small)
        return self._marked(Arm(chosen.structure, first, self._ladder.small, lanes=lanes, seconds=chosen.seconds))

    def _marked(self, arm: Arm) -> Arm:
        """Says so where the first trial is the recipe, by whatever way it came to be chosen."""
        return replace(arm, recipe=True) if arm.structure | arm.common | arm.first == self._recipe else arm

    def _recipe_arm(self, left: float) -> Arm | None:
        if self.recipe_done or self._is_under_way(self._recipe):
            return None
        structure = self._structure_of(self._recipe)
        self.recipe_seconds = self._costs.predict(self._recipe, robust=True).seconds
        if self.recipe_seconds > _SHARE * left:
            return None
        rung = self._ladder.rung(structure)
        seconds = self.recipe_seconds
        return Arm(structure, self._recipe, rung=rung, recipe=True, seconds=seconds, robust=True)

    def _is_plain(self, structure: Config) -> bool:
        """Whether its trials are heads on plain features, which are cheap to cross-validate."""
        return self._ladder.rung(structure) == 0

    def _asks_robust(self, structure: Config) -> bool:
        """Where photos pass through more than frozen stages anyway, and where features proved worth a second group."""
        return not self._is_plain(structure) or self._key(structure) in self._tried

    def _candidates(self, lanes: int) -> list[_Candidate]:
        """What may come next, with what it may gain: structures that were not tried, and more of those that were."""
        tried = [each for each in self._tried.values() if each.trials]
        new = self._never_tried()
        if not tried:
            return [self._costed(structure, lanes) for structure in new]
        surface = Surface([Observation(self._point(each.structure), *self._observed(each)) for each in tried])
        at, _ = surface.predict([self._point(each.structure) for each in tried])
        best = float(at.min())
        found: list[_Candidate] = []
        if new:
            gains = expected_gain(*surface.predict([self._point(structure) for structure in new]), best)
            found += [self._costed(each, lanes, float(gain)) for each, gain in zip(new, gains, strict=True)]
        found += self._shipped(surface, best)
        groups = self._groups_of_base()
        for each, level in zip(tried, at, strict=True):
            if not each.under_way:
                stages = self._trains_stages(each.structure)
                spread = _MORE / (each.groups if stages else groups[self._base(each.structure)])
                gain = expected_gain(np.array([level]), np.array([spread]), best)
                found.append(self._costed(each.structure, lanes, float(gain[0])))
        return found

    def _shipped(self, surface: Surface, best: float) -> list[_Candidate]:
        """The configs of the portfolio, each alone; they were good before, so a little better than their structure."""
        if not self._portfolio:
            return []
        structures = [self._structure_of(config) for config in self._portfolio]
        mean, deviation = surface.predict([self._point(structure) for structure in structures])
        gains = expected_gain(mean + _KNOWN_TO_BE_GOOD, deviation, best)
        return [
            _Candidate(
                structure,
                1,
                float(gain),
                self._costs.predict(config, robust=self._asks_robust(structure)).seconds,
                config=config,
                robust=self._asks_robust(structure),
            )
            for config, structure, gain in zip(self._portfolio, structures, gains, strict=True)
            if not self._is_under_way(structure)
        ]

    def _never_tried(self) -> list[Config]:
        """Every choice of features at rung 0, and what is above it on the best of those that were tried."""
        ladder = self._ladder
        structures = list(self._lowest)
        for tried in self._best_bases():
            base = self._base_of(tried.structure)
            free = {name: tried.structure[name] for name in ladder.free}
            key = self._key(tried.structure)
            if key not in self._above:
                self._above[key] = ladder.above(base, free)
            structures += [each for each in self._above[key] if self._is_earned(each)]
        return [structure for structure in structures if self._key(structure) not in self._tried]

    def _is_earned(self, structure: Config) -> bool:
        """Whether all but its stages has been tried: views are, before stages train on them."""
        if not self._trains_stages(structure):
            return True
        stages = self._ladder.climbs[-1]
        heads = self._ladder.lowest({name: value for name, value in structure.items() if name not in stages})
        known = self._tried.get(self._key(heads))
        return known is not None and bool(known.trials)

    def _groups_of_base(self) -> Counter[tuple[object, ...]]:
        groups: Counter[tuple[object, ...]] = Counter()
        for each in self._tried.values():
            if not self._trains_stages(each.structure):
                groups[self._base(each.structure)] += each.groups
        return groups

    def _base(self, structure: Config) -> tuple[object, ...]:
        return tuple(self._base_of(structure).values())

    def _base_of(self, structure: Config) -> Config:
        return {name: structure[name] for name in self._ladder.base if name in structure}

    def _trains_stages(self, structure: Config) -> bool:
        return self._ladder.rung(structure) == len(self._ladder.climbs)

    def _best_bases(self) -> list[_Tried]:
        """Of each of the best features the structure at rung 0 that did best."""
        found: dict[tuple[object, ...], _Tried] = {}
        for each in self._tried.values():
            if not each.trials or self._ladder.rung(each.structure):
                continue
            base = self._base(each.structure)
            if base not in found or self._observed(each) < self._observed(found[base]):
                found[base] = each
        return sorted(found.values(), key=self._observed)[:_BEST_BASES]

    def _costed(self, structure: Config, lanes: int, gain: float = 0.0) -> _Candidate:
        parent = self._parent(structure)
        # Lanes that train stages gain nothing side by side.
        lanes = 1 if self._trains_stages(structure) else lanes
        robust = self._asks_robust(structure)
        seconds = self._predicted(structure, lanes, parent, robust=robust)
        if robust and self._is_plain(structure) and seconds > _SHARE / 2 * self._left:
            robust, seconds = False, self._predicted(structure, lanes, parent, robust=False)
        return _Candidate(structure, lanes, gain, seconds, parent, robust=robust)

    def _predicted(self, structure: Config, lanes: int, parent: Finished | None, *, robust: bool) -> float:
        key = (self._key(structure), lanes, None if parent is None else parent.number, robust)
        costs = self._seconds.setdefault(_unordered(self._ladder, structure), {})
        if key not in costs:
            config = structure if parent is None else self._promoted(parent, structure)
            config = self._common(structure) | config
            plain = self._is_plain(structure)
            costs[key] = self._costs.predict(config, lanes, robust=robust, cross_validate=plain).seconds
        return costs[key]

    def _parent(self, structure: Config) -> Finished | None:
        """The best trial that can be promoted to a structure."""
        if not self._ladder.rung(structure):
            return None
        for trial in self._leaders.get(self._root(structure), ()):
            if self._ladder.below(trial.config, structure):
                return trial
        return None

    def _lead(self) -> None:
        """Finds the best trial of each structure, best first; by what climbing leaves as it is."""
        self._leaders = {}
        for tried in self._tried.values():
            if tried.trials:
                best = min(tried.trials, key=self._order)
                self._leaders.setdefault(self._root(tried.structure), []).append(best)
        for trials in self._leaders.values():
            trials.sort(key=self._order)

    def _root(self, structure: Config) -> tuple[object, ...]:
        return tuple(structure.get(name) for name in (*self._ladder.base, *self._ladder.free))

    def _measured(self, trial: Finished) -> tuple[float, float]:
        """The logarithm of a trial's error, and its noise.

        Cross-validation is of more examples, so less a matter of luck, but of other ones: what sets the two apart on
        average is made up for, so that trials with and without it can be compared.
        """
        assert trial.value is not None
        if trial.crossed is None:
            return log_error(trial.value, self._metric, self._direction, trial.n)
        value, noise = log_error(trial.crossed, self._metric, self._direction, trial.crossed_n)
        return value + sum(self._apart) / len(self._apart), noise

    def _order(self, trial: Finished) -> tuple[float, int]:
        return self._measured(trial)[0], trial.number

    def _observed(self, tried: _Tried) -> tuple[float, float]:
        """Of the best fifth of a structure's trials, so that many heads are not better by luck alone."""
        measured = sorted(map(self._measured, tried.trials))[: -(-len(tried.trials) // 5)]
        return sum(value for value, _ in measured) / len(measured), sum(noise for _, noise in measured) / len(measured)

    def _promoted(self, parent: Finished, structure: Config) -> Config:
        """The parent's config with the structure raised; what is new at this rung begins with sound values."""
        kept = {name: value for name, value in parent.config.items() if name not in self._ladder.names}
        return self._ladder.completed(kept | structure)

    def _arm(self, chosen: _Candidate) -> Arm:
        rung = self._ladder.rung(chosen.structure)
        if chosen.config is not None:
            self._portfolio.remove(chosen.config)
            return Arm(
                chosen.structure,
                chosen.config,
                rung=rung,
                seconds=chosen.seconds,
                shipped=True,
                robust=chosen.robust,
                cross_validate=self._is_plain(chosen.structure),
            )
        again = self._key(chosen.structure) in self._tried
        first: Config = {}
        if chosen.parent is not None and not again:
            first = self._promoted(chosen.parent, chosen.structure)
        elif chosen.parent is not None and self._trains_stages(chosen.structure):
            # The same stages once more: the head's values stay, how the stages train is the sampler's.
            first = {k: v for k, v in chosen.parent.config.items() if k not in self._ladder.names} | chosen.structure
        parent = None if chosen.parent is None else chosen.parent.number
        return self._marked(
            Arm(
                chosen.structure,
                first,
                self._common(chosen.structure),
                rung,
                chosen.lanes,
                parent,
                seconds=chosen.seconds,
                robust=chosen.robust,
                cross_validate=self._is_plain(chosen.structure),
            )
        )

    def _common(self, structure: Config) -> Config:
        """Features are tried with small heads first: large ones cost more than the features do."""
        first_time = self._ladder.rung(structure) == 0 and not self._groups_of_base()[self._base(structure)]
        return self._ladder.small if first_time else {}

    # ---

    def _point(self, structure: Config) -> Point:
        key = self._key(structure)
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

    def _structure_of(self, config: Config) -> Config:
        return {name: config[name] for name in self._ladder.names if name in config}

    def _key(self, config: Config) -> tuple[object, ...]:
        return tuple(config.get(name) for name in self._ladder.names)

    def _entry(self, config: Config) -> _Tried:
        return self._tried.setdefault(self._key(config), _Tried(self._structure_of(config)))

    def _is_under_way(self, config: Config) -> bool:
        known = self._tried.get(self._key(config))
        return known is not None and known.under_way > 0


class Whole:
    """Where nothing is frozen: the sampler's proposals, but cheap ones first, and none that does not fit.

    The idea is that of cost-frugal search (Wu et al. 2021, arXiv 2005.01571): start cheap, then widen.

    Args:
        structures: gives the structure of a random config of the space.
    """

    def __init__(
        self, structures: Callable[[random.Random], Config], costs: Costs, *, seed: int, recipe: Config
    ) -> None:
        self._structures = structures
        self._costs = costs
        self._seed = seed
        self._recipe = recipe
        self.recipe_done = False
        self._decisions = 0
        self.recipe_seconds: float | None = None

    def began(self, config: Config) -> None:
        self._decisions += 1
        self.recipe_done |= config == self._recipe

    def done(self, config: Config) -> None:
        pass

    def ended(self, trial: Finished) -> None:
        self.recipe_done |= trial.config == self._recipe
        self._decisions = max(self._decisions, 1)

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        return False

    def next(self, left: float, trials: int | None = None) -> Arm | None:
        if not self.recipe_done:
            self.recipe_seconds = self._costs.predict(self._recipe).seconds
            if self.recipe_seconds <= _SHARE * left:
                return Arm(self._recipe, self._recipe, recipe=True, seconds=self.recipe_seconds)
        generator = random.Random(f"{self._seed} {self._decisions}")
        drawn = [self._structures(generator) for _ in range(_DRAWN)]
        costed = sorted(((self._costs.predict(each).seconds, place) for place, each in enumerate(drawn)))
        cheapest, place = costed[0]
        fits = cheapest * _MARGIN <= left
        if not fits and self._decisions:
            return None
        dearest = costed[-1][0]
        if self._decisions >= _CHEAP_FIRST and dearest * _MARGIN <= left:
            return Arm({}, seconds=costed[len(costed) // 2][0])
        return Arm(drawn[place], seconds=cheapest)


def _unordered(ladder: Ladder, structure: Config) -> tuple[object, ...]:
    """The backbone: what of the features has no order."""
    return tuple(structure.get(name) for name in ladder.base if not ladder.is_ordered(name))
