"""Cheap first, expensive earned: which structure trains next, by what it may gain and what it costs.

Rung 0 trains heads on frozen features, many side by side; rung 1 trains them on augmented views; rung 2 trains stages
too. A trial is a whole config at every rung, so that its value is that of a model that can be made again. Promotion
makes a new trial of its parent's config with the dimensions of the next rung raised (docs/decisions/0024).

What comes next is what brings most in its predicted seconds, against what these would bring if they were spent on the
structures with the highest expected gain a second (`gain.py`). Outputs that are kept
make a structure cheap, so what was computed steers the search. Pure: no clock and no torch, so that it can be tested on
recorded results.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from search_spaces import Config

from .costing import OPENING_SECONDS, Candidate, Costing
from .gain import Array, Surface, expected_gain, gains_in_turn, log_error, standard_draws
from .strategy import MARGIN, SHARE, Arm, Costs, Finished, Ladder
from .tried import Tried, TriedStructures

# Of the decisions, every so many goes to a structure that was never tried, whatever is expected of it.
_EXPLORE = 6
# The first group is of the first backbone as long as that takes at most so many times `OPENING_SECONDS`: asking what
# others take, which may mean measuring them, and beginning with the worst of them is hardly sooner.
_OPENING_AT_MOST = 2.0
# More time than this, in seconds, makes nobody more patient.
_LONG = 3600.0
# Structures above rung 0 are considered on the features of so many of the best.
_BEST_BASES = 3
# What a second group of heads on the same features changes (standard deviation); the n-th changes an n-th of it.
_MORE = 0.15
# So many groups a structure gets while there is another one.
_MOST_GROUPS = 4
# Of the time left, and of that which has passed, what one group may take while there is something cheaper that gains
# this share of what it does. So what was found is seldom older than half of the search.
_MOST, _MOST_PASSED, _WORTH = 0.5, 1.0, 0.2
# What choices may come to is drawn so often.
_DRAWS = 1024
# A gain is worth as much a second whether it takes one or two of a hundred that are left: this share of the time left
# counts as part of every cost. At first it is less, by what has passed: then a second is long.
_PATIENCE, _PATIENCE_PASSED = 0.02, 0.05
# The recipe does not wait any longer once it takes this share of what it may take at all.
_RECIPE_DUE = 0.8
# How much better a config of the portfolio is expected to be than others of its structure, in the same logarithm.
_KNOWN_TO_BE_GOOD = -0.1


class Rungs:
    """Decides the next group of a study.

    Args:
        lanes: the most trials that train side by side.
        recipe: the task's, complete.
        portfolio: configs that were good on other tasks.
    """

    halves = True

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
        self._metric, self._direction = metric, direction
        self._lanes = lanes
        self._seed = seed
        self._recipe = recipe
        self.recipe_done = False
        self.recipe_problem = ""
        self._portfolio = list(portfolio)
        self._tried = TriedStructures(ladder, metric, direction)
        self._decisions = 0
        self._middle = ladder.free_values()[len(ladder.free_values()) // 2]
        self._lowest = [ladder.lowest(base | free) for free in ladder.free_values() for base in ladder.bases()]
        self._above: dict[tuple[object, ...], tuple[Config, ...]] = {}
        self._costing = Costing(ladder, costs, self._tried)
        self.recipe_seconds: float | None = None
        """What the recipe was last expected to take."""
        # The logarithm of the least error, by the surface.
        self._best = 0.0
        # Structures of which nothing is left to try.
        self._spent: set[tuple[object, ...]] = set()

    # --- what happened

    def began(self, config: Config) -> None:
        tried = self._tried.entry(config)
        tried.groups += 1
        tried.under_way += 1
        self._decisions += 1
        self._portfolio = [shipped for shipped in self._portfolio if shipped != config]

    def done(self, config: Config) -> None:
        tried = self._tried.entry(config)
        tried.under_way = max(tried.under_way - 1, 0)
        self._costing.forget(config)

    def ended(self, trial: Finished) -> None:
        if trial.config == self._recipe:
            self.recipe_done = True
        self._portfolio = [config for config in self._portfolio if config != trial.config]
        self._tried.ended(trial)

    def in_vain(self, arm: Arm, trials: int | None = None) -> None:
        if arm.recipe and not self.recipe_done:
            self.recipe_problem = "a trial of its structure ran out of memory"
        elif trials is None and not arm.shipped:
            # With a number of trials, one that was had before is answered from its record, and counts.
            self._spent.add(self._tried.key(arm.structure))

    # --- what comes next

    def next(self, left: float, trials: int | None = None, passed: float = math.inf) -> Arm | None:
        self._costing.left, self._costing.passed = left, passed
        arm = self._next(left, trials)
        if arm is None:
            return None
        return replace(arm, features=" ".join(map(str, self._tried.base(arm.structure))))

    def _next(self, left: float, trials: int | None) -> Arm | None:
        lanes = self._lanes if trials is None else max(min(self._lanes, trials), 1)
        if not any(tried.groups for tried in self._tried.all.values()):
            # One of several that are counted is for the recipe.
            return self._opening(lanes if trials is None or trials < 2 else min(lanes, trials - 1))
        self._tried.lead()
        if trials is not None and trials <= self._lanes and (arm := self._recipe_arm(left, waits=False)) is not None:
            return arm  # the next group may take all the trials that are left
        # Before the recipe: it may take as long as heads on all of them.
        if (candidate := self._next_backbone(left, lanes)) is not None:
            return self._arm(candidate)
        # Trials are few where they are counted, and may end before it comes to the recipe.
        if (arm := self._recipe_arm(left, waits=trials is None)) is not None:
            return arm
        if self._decisions % _EXPLORE == _EXPLORE - 1 and (candidate := self._never_expected(left, lanes)) is not None:
            return self._arm(candidate)
        fitting = [each for each in self._candidates(lanes) if each.seconds * MARGIN <= left]
        if not fitting:
            return self._recipe_arm(left, waits=False)
        # The best of a thousand heads on the same features is the luckiest one.
        fitting = [each for each in fitting if not self._is_exhausted(each.structure)] or fitting
        # Another worker is about to keep what it needs, and until then it would wait.
        fitting = [each for each in fitting if not self._tried.is_being_computed(each.structure)] or fitting
        patience = min(_PATIENCE * min(left, _LONG), _PATIENCE_PASSED * self._costing.passed)
        # Nothing takes a large part of the time while there is anything else that is worth something.
        most = max(each.gain for each in fitting)
        modest = [each for each in fitting if each.seconds <= min(_MOST * left, self._modest())]
        if modest and max(each.gain for each in modest) >= _WORTH * most:
            fitting = modest
        return self._arm(worth_most(fitting, self._best, patience))

    def _modest(self) -> float:
        """Seconds that are few beside those that have passed."""
        return max(OPENING_SECONDS, _MOST_PASSED * self._costing.passed)

    def _is_exhausted(self, structure: Config) -> bool:
        known = self._tried.all.get(self._tried.key(structure))
        return known is not None and known.groups >= _MOST_GROUPS

    def _next_backbone(self, left: float, lanes: int) -> Candidate | None:
        """Heads on a backbone that was not tried yet, at the highest resolution that is affordable and quick, as the
        first group is, else at the lowest: a look at each, before what is known to be good is made better."""
        seen = {self._tried.backbone(each.structure) for each in self._tried.all.values()}
        found: dict[tuple[object, ...], Candidate] = {}
        for base in self._ladder.bases():
            backbone = self._tried.backbone(base)
            if backbone not in seen:
                candidate = self._costing.costed(self._ladder.lowest(base | self._middle), lanes)
                if candidate.seconds <= SHARE * left and (
                    candidate.seconds <= OPENING_SECONDS or backbone not in found
                ):
                    found[backbone] = candidate  # resolutions rise
        return min(found.values(), key=lambda each: each.seconds, default=None)

    def _never_expected(self, left: float, lanes: int) -> Candidate | None:
        """A structure that was never tried, at random, of those that are affordable."""
        generator = random.Random(f"{self._seed} {self._decisions}")
        structures = self._never_tried()
        for structure in generator.sample(structures, min(len(structures), 10)):
            if self._tried.is_being_computed(structure):
                continue
            candidate = self._costing.costed(structure, lanes)
            if candidate.seconds <= min(SHARE * left, self._modest()):
                return candidate
        return None

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        """Once stages train, a trial that is clearly worse than the heads that it was promoted from goes: it is on its
        way, so it is not measured against what a trial of stages came to in the end."""
        if arm.parent is None or not self._tried.trains_stages(arm.structure):
            return False
        heads = self._tried.heads_of(arm.structure)
        if not heads:
            return False
        error, _ = log_error(value, self._metric, self._direction, heads[0].trials[0].n)
        return self._tried.is_hopeless(arm.structure, error)

    def _opening(self, lanes: int) -> Arm:
        """Heads on features of the first backbone, at the highest resolution that is quick, else at its lowest one;
        where even that takes long, on what is quickest of all."""
        structures = [self._ladder.lowest(base | self._middle) for base in self._ladder.bases()]
        first = self._tried.backbone(structures[0])
        # Asking for the costs of another backbone may mean measuring it.
        preferred = [self._costing.costed(each, lanes) for each in structures if self._tried.backbone(each) == first]
        quick = [each for each in preferred if each.seconds <= OPENING_SECONDS]
        if quick:
            chosen = quick[-1]  # the costs of one backbone rise with its resolution
        elif preferred[0].seconds <= min(_OPENING_AT_MOST * OPENING_SECONDS, _MOST * self._costing.left):
            chosen = preferred[0]
        else:
            chosen = min((self._costing.costed(each, lanes) for each in structures), key=lambda each: each.seconds)
        common = self._ladder.settled | self._ladder.small
        config = self._ladder.completed(self._recipe | chosen.structure | common)
        return self._marked(Arm(chosen.structure, config, common, lanes=chosen.lanes, seconds=chosen.seconds))

    def _marked(self, arm: Arm) -> Arm:
        """Says so where the first trial is the recipe, by whatever way it came to be chosen."""
        return replace(arm, recipe=True) if arm.structure | arm.common | arm.first == self._recipe else arm

    def _recipe_arm(self, left: float, *, waits: bool) -> Arm | None:
        if self.recipe_done or self.recipe_problem or self._tried.is_under_way(self._recipe):
            return None
        structure = self._tried.structure_of(self._recipe)
        further, self.recipe_seconds = self._costing.of_config(structure, self._recipe)
        affordable = SHARE * left
        if self.recipe_seconds > affordable:
            return None
        if waits and self._modest() < self.recipe_seconds < _RECIPE_DUE * affordable:
            return None  # later, while cheaper things are found
        rung = self._ladder.rung(structure)
        seconds = self.recipe_seconds
        return Arm(
            structure,
            self._recipe,
            rung=rung,
            recipe=True,
            seconds=seconds,
            further=further,
        )

    def _candidates(self, lanes: int) -> list[Candidate]:
        """What may come next, with what it may gain: structures that were not tried, and more of those that were."""
        new = self._never_tried()
        observations = self._tried.observations()
        if not observations:
            return [self._costing.costed(structure, lanes) for structure in new]
        surface = Surface(observations)
        tried = [each for each in self._tried.all.values() if each.trials or each.given_up]
        at, _ = surface.predict([self._tried.point(each.structure) for each in tried])
        best = self._best = float(min(level for each, level in zip(tried, at, strict=True) if each.trials))
        found = [self._costing.costed(structure, lanes) for structure in new] + self._shipped(lanes)
        if found:
            # Together, as what is true of one of them is mostly true of the next.
            points = [self._tried.point(each.structure) for each in found]
            better = np.array([0.0 if each.config is None else _KNOWN_TO_BE_GOOD for each in found])
            mean, deviation = surface.predict(points)
            gains = expected_gain(mean + better, deviation, best)
            drawn = (surface.draws(points, _DRAWS, self._generator()) + better).T
            found = [
                replace(each, gain=float(gain), drawn=values)
                for each, gain, values in zip(found, gains, drawn, strict=True)
            ]
        return found + self._more(tried, at, best, lanes)

    def _more(self, tried: Sequence[Tried], levels: Array, best: float, lanes: int) -> list[Candidate]:
        """More heads on features that were tried, and the same stages trained in another way."""
        found = []
        groups, of_stages = self._tried.groups_of_base(), self._tried.spread()
        own = standard_draws(_DRAWS, len(tried), self._generator(1)).T
        for each, level, standard in zip(tried, levels, own, strict=True):
            if not each.under_way and self._tried.key(each.structure) not in self._spent:
                stages = self._tried.trains_stages(each.structure)
                spread = of_stages / each.groups if stages else _MORE / groups[self._tried.base(each.structure)]
                gain = expected_gain(np.array([level]), np.array([spread]), best)
                candidate = self._costing.costed(each.structure, lanes, float(gain[0]))
                found.append(replace(candidate, drawn=level + spread * standard))
        return found

    def _generator(self, stream: int = 0) -> np.random.Generator:
        return np.random.default_rng((self._seed, self._decisions, stream))

    def _shipped(self, lanes: int) -> list[Candidate]:
        """The configs of the portfolio, each the first of a group; they were good before, so a little better than their
        structure. Heads share its features, so others are tried beside them; where stages train they are alone."""
        found = []
        for config in self._portfolio:
            structure = self._tried.structure_of(config)
            if self._tried.is_under_way(structure):
                continue
            if self._tried.trains_stages(structure):
                further, seconds = self._costing.of_config(structure, config)
                found.append(Candidate(structure, 1, 0.0, seconds, config=config, further=further))
            else:
                found.append(replace(self._costing.costed(structure, lanes), config=config, parent=None))
        return found

    def _never_tried(self) -> list[Config]:
        """Every choice of features at rung 0, and what is above it on the best of those that were tried."""
        ladder = self._ladder
        structures = list(self._lowest)
        for tried in self._tried.best_bases(_BEST_BASES):
            base = self._tried.base_of(tried.structure)
            free = {name: tried.structure[name] for name in ladder.free}
            key = self._tried.key(tried.structure)
            if key not in self._above:
                self._above[key] = ladder.above(base, free)
            structures += [each for each in self._above[key] if self._is_earned(each)]
        return [structure for structure in structures if self._tried.key(structure) not in self._tried.all]

    def _is_earned(self, structure: Config) -> bool:
        """Whether what it adds to has been tried: heads on its views, before stages train on them, and on fewer views
        of the same strength, which it goes on from."""
        if self._tried.trains_stages(structure):
            stages = self._ladder.climbs[-1]
            below = self._ladder.lowest({name: value for name, value in structure.items() if name not in stages})
        elif (eased := self._ladder.eased(structure)) is not None:
            below = eased
        else:
            return True
        known = self._tried.all.get(self._tried.key(below))
        return known is not None and (bool(known.trials) or not known.under_way)

    def _arm(self, chosen: Candidate) -> Arm:
        rung = self._ladder.rung(chosen.structure)
        if chosen.config is not None:
            return Arm(
                chosen.structure,
                chosen.config,
                self._costing.common(chosen.structure),
                rung,
                chosen.lanes,
                seconds=chosen.seconds,
                shipped=True,
                further=chosen.further,
            )
        again = self._tried.key(chosen.structure) in self._tried.all
        first: Config = {}
        if chosen.parent is not None and not again:
            first = self._costing.promoted(chosen.parent, chosen.structure)
        elif chosen.parent is not None and self._tried.trains_stages(chosen.structure):
            first = self._costing.varied(chosen.parent, chosen.structure)
        parent = None if chosen.parent is None else chosen.parent.number
        return self._marked(
            Arm(
                chosen.structure,
                first,
                self._costing.common(chosen.structure),
                rung,
                chosen.lanes,
                parent,
                seconds=chosen.seconds,
                further=chosen.further,
            )
        )


def worth_most(candidates: Sequence[Candidate], best: float, patience: float) -> Candidate:
    """The one that brings most of what its seconds would bring, spent on those with the highest gain a second.

    Expected improvement a second alone never takes what is dear: many cheap trials seem to add up. They don't, as the
    best of them counts and not their sum, and as what is true of one is mostly true of the next.
    """
    order = sorted(candidates, key=lambda each: each.gain / (each.seconds + patience), reverse=True)
    if any(each.drawn is None for each in order):
        return order[0]
    drawn = np.stack([each.drawn for each in order if each.drawn is not None], axis=1)
    seconds = np.array([each.seconds + patience for each in order])
    cheapest_first = np.interp(seconds, [0.0, *np.cumsum(seconds)], [0.0, *gains_in_turn(drawn, best)])
    alone = np.maximum(best - drawn, 0.0).mean(0)
    return order[int(np.argmax(alone / np.maximum(cheapest_first, 1e-12)))]
