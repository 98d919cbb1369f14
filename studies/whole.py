"""What is next where nothing is frozen: networks that begin with random weights."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from search_spaces import Config

from .strategy import MARGIN, SHARE, Arm, Costs, Finished

# The first so many trials are each the cheapest of so many random structures.
_CHEAP_FIRST, _DRAWN = 4, 8
# After so many structures of which nothing new was found, there is nothing left to try.
_MOST_IN_VAIN = 16


class Whole:
    """Where nothing is frozen: the sampler's proposals, but cheap ones first, and none that does not fit.

    The idea is that of cost-frugal search (Wu et al. 2021, arXiv 2005.01571): start cheap, then widen.

    Args:
        structures: gives the structure of a random config of the space.
    """

    halves = False

    def __init__(
        self, structures: Callable[[random.Random], Config], costs: Costs, *, seed: int, recipe: Config
    ) -> None:
        self._structures = structures
        self._costs = costs
        self._seed = seed
        self._recipe = recipe
        self.recipe_done = False
        self._decisions = 0
        self._in_vain = 0
        self.recipe_problem = ""
        self.recipe_seconds: float | None = None

    def began(self, config: Config) -> None:
        self._decisions += 1
        self.recipe_done |= config == self._recipe

    def done(self, config: Config) -> None:
        pass

    def ended(self, trial: Finished) -> None:
        self.recipe_done |= trial.config == self._recipe
        self._decisions = max(self._decisions, 1)
        self._in_vain = 0

    def in_vain(self, arm: Arm, trials: int | None = None) -> None:
        if trials is None:
            # Without a structure, all of the space was asked for.
            self._in_vain += 1 if arm.structure else _MOST_IN_VAIN

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        return False

    def next(self, left: float, trials: int | None = None, passed: float = math.inf) -> Arm | None:
        if not self.recipe_done:
            self.recipe_seconds = self._costs.predict(self._recipe).seconds
            if self.recipe_seconds <= SHARE * left:
                return Arm(self._recipe, self._recipe, recipe=True, seconds=self.recipe_seconds)
        if self._in_vain >= _MOST_IN_VAIN:
            return None
        generator = random.Random(f"{self._seed} {self._decisions}")
        drawn = [self._structures(generator) for _ in range(_DRAWN)]
        costed = sorted(((self._costs.predict(each).seconds, place) for place, each in enumerate(drawn)))
        cheapest, place = costed[0]
        fits = cheapest * MARGIN <= left
        if not fits and self._decisions:
            return None
        dearest = costed[-1][0]
        if self._decisions >= _CHEAP_FIRST and dearest * MARGIN <= left:
            return Arm({}, seconds=costed[len(costed) // 2][0])
        return Arm(drawn[place], seconds=cheapest)
