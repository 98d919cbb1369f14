"""What each choice of a search on rungs would train, side by side with how many others, and what that would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from search_spaces import Config

from .gain import Array
from .strategy import ONLY_SPLIT, SHARE, Cost, Costs, Finished, Further, Ladder, TriedStages
from .tried import TriedStructures

OPENING_SECONDS = 6.0
"""The first group is to end soon: it takes so many seconds at most where the machine can do it."""
# Half as many lanes are worth it where they take this share of the time.
_WORTH_FEWER = 0.75
# Heads are scored on changed photos, and cross-validated, where that takes this share of what has passed and of what is
# left.
_LITTLE = 0.1


@dataclass(frozen=True)
class Candidate:
    """A group that may come next: of a structure, or of a whole `config`; promoted from `parent` where there is one.

    `drawn` (count,) are logarithms of the error that it may come to.
    """

    structure: Config
    lanes: int
    gain: float
    seconds: float
    parent: Finished | None = None
    config: Config | None = None
    further: Further = ONLY_SPLIT
    drawn: Array | None = field(default=None, compare=False, repr=False)


class Costing:
    """What groups of structures would take. `left` is how much time there is, and `passed` how much has passed."""

    def __init__(self, ladder: Ladder, costs: Costs, tried: TriedStructures) -> None:
        self._ladder = ladder
        self._costs = costs
        self._tried = tried
        # By backbone: known until a group of that backbone teaches better.
        self._predictions: dict[tuple[object, ...], dict[tuple[object, ...], Cost]] = {}
        self.left = self.passed = math.inf

    def forget(self, config: Config) -> None:
        """A group of this backbone has ended: costs are to be predicted anew."""
        self._predictions.pop(self._tried.backbone(config), None)

    def of_config(self, structure: Config, config: Config) -> tuple[Further, float]:
        """Of a single trial: how else it is scored, and its seconds."""
        return self._costed(structure, self._costs.predict(config, robust=True, cross_validate=True))

    def is_plain(self, structure: Config) -> bool:
        """Whether its trials are heads on plain features, which are cheap to cross-validate."""
        return self._ladder.rung(structure) == 0

    def costed(self, structure: Config, lanes: int, gain: float = 0.0) -> Candidate:
        parent = self._parent(structure)
        # Lanes that train stages gain nothing side by side.
        lanes = 1 if self._tried.trains_stages(structure) else lanes
        further, seconds = self._costed(structure, self._predicted(structure, lanes, parent))
        # Where it is the heads that take long, fewer of them.
        while lanes > 1 and seconds > max(SHARE * self.left, OPENING_SECONDS):
            at_half = self._costed(structure, self._predicted(structure, lanes // 2, parent))
            if at_half[1] > _WORTH_FEWER * seconds:
                break
            lanes, (further, seconds) = lanes // 2, at_half
        return Candidate(structure, lanes, gain, seconds, parent, further=further)

    def _costed(self, structure: Config, cost: Cost) -> tuple[Further, float]:
        """How else trials are scored, and the seconds of all.

        Where stages train, on changed photos too. Heads are where that takes little: by cross-validation on plain
        features, and on changed photos once their features proved worth a second group, or views of their own.
        """
        seconds = cost.seconds - cost.shifted - cost.race
        if self._tried.trains_stages(structure):
            return Further(robust=True), seconds + cost.shifted
        little = _LITTLE * min(self.left, self.passed)
        plain = self.is_plain(structure)
        robust = cost.shifted <= little and (not plain or self._tried.key(structure) in self._tried.all)
        cross_validate = plain and cost.race <= little
        return Further(robust, cross_validate), seconds + robust * cost.shifted + cross_validate * cost.race

    def _predicted(self, structure: Config, lanes: int, parent: Finished | None) -> Cost:
        """With all that there is to score."""
        key = (self._tried.key(structure), lanes, None if parent is None else parent.number)
        costs = self._predictions.setdefault(self._tried.backbone(structure), {})
        if key not in costs:
            config = structure if parent is None else self.promoted(parent, structure)
            config = self.common(structure) | config
            costs[key] = self._costs.predict(config, lanes, robust=True, cross_validate=True)
        return costs[key]

    def _parent(self, structure: Config) -> Finished | None:
        """The best trial that can be promoted to a structure."""
        if not self._ladder.rung(structure):
            return None
        for trial in self._tried.leaders.get(self._tried.root(structure), ()):
            if self._ladder.below(trial.config, structure):
                return trial
        return None

    def promoted(self, parent: Finished, structure: Config) -> Config:
        """The parent's config with the structure raised; stages train as those did that were tried, or soundly."""
        return self._ladder.completed(self._raised(parent, structure), self._stages(structure))

    def varied(self, parent: Finished, structure: Config) -> Config:
        """The same stages once more: the head's values stay. How the stages train is to be another way, where one is
        next to be tried, else the sampler's."""
        return self._ladder.varied(self._raised(parent, structure), self._stages(structure))

    def _raised(self, parent: Finished, structure: Config) -> Config:
        """Without what says how stages train."""
        raised = (*self._ladder.names, *self._ladder.descent)
        return {name: value for name, value in parent.config.items() if name not in raised} | structure

    def _stages(self, structure: Config) -> Sequence[TriedStages]:
        """What trained stages of the same backbone so far."""
        return self._tried.stages.get(self._tried.backbone(structure), ())

    def common(self, structure: Config) -> Config:
        """Features are tried with small heads first: large ones cost more than the features do. What is settled is so
        of all."""
        first_time = self._ladder.rung(structure) == 0 and not self._tried.groups_of_base()[self._tried.base(structure)]
        return self._ladder.settled | (self._ladder.small if first_time else {})
