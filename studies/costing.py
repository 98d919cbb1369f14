"""What each choice of a search on rungs would train, side by side with how many others, and what that would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search_spaces import Config

from .strategy import SHARE, Costs, Finished, Ladder
from .tried import TriedStructures

OPENING_SECONDS = 8.0
"""The first group is to end soon: it takes so many seconds at most where the machine can do it."""
# Half as many lanes are worth it where they take this share of the time.
_WORTH_FEWER = 0.75


@dataclass(frozen=True)
class Candidate:
    """A group that may come next: of a structure, or of a whole `config`; promoted from `parent` where there is one."""

    structure: Config
    lanes: int
    gain: float
    seconds: float
    parent: Finished | None = None
    config: Config | None = None
    robust: bool = False


class Costing:
    """What groups of structures would take. `left` is how much time there is."""

    def __init__(self, ladder: Ladder, costs: Costs, tried: TriedStructures) -> None:
        self._ladder = ladder
        self._costs = costs
        self._tried = tried
        # By backbone: known until a group of that backbone teaches better.
        self._seconds: dict[tuple[object, ...], dict[tuple[object, ...], float]] = {}
        self.left = math.inf

    def forget(self, config: Config) -> None:
        """A group of this backbone has ended: costs are to be predicted anew."""
        self._seconds.pop(self.backbone(config), None)

    def of_config(self, config: Config, *, robust: bool) -> float:
        """Of a single trial."""
        return self._costs.predict(config, robust=robust).seconds

    def backbone(self, structure: Config) -> tuple[object, ...]:
        """What of the features has no order."""
        return tuple(structure.get(name) for name in self._ladder.base if not self._ladder.is_ordered(name))

    def is_plain(self, structure: Config) -> bool:
        """Whether its trials are heads on plain features, which are cheap to cross-validate."""
        return self._ladder.rung(structure) == 0

    def asks_robust(self, structure: Config) -> bool:
        """Where photos pass through more than frozen stages anyway, and where features proved worth a second group."""
        return not self.is_plain(structure) or self._tried.key(structure) in self._tried.all

    def costed(self, structure: Config, lanes: int, gain: float = 0.0) -> Candidate:
        parent = self._parent(structure)
        # Lanes that train stages gain nothing side by side.
        lanes = 1 if self._tried.trains_stages(structure) else lanes
        robust = self.asks_robust(structure)
        seconds = self._predicted(structure, lanes, parent, robust=robust)
        if robust and self.is_plain(structure) and seconds > SHARE / 2 * self.left:
            robust, seconds = False, self._predicted(structure, lanes, parent, robust=False)
        # Where it is the heads that take long, fewer of them.
        while lanes > 1 and seconds > max(SHARE * self.left, OPENING_SECONDS):
            fewer = self._predicted(structure, lanes // 2, parent, robust=robust)
            if fewer > _WORTH_FEWER * seconds:
                break
            lanes, seconds = lanes // 2, fewer
        return Candidate(structure, lanes, gain, seconds, parent, robust=robust)

    def _predicted(self, structure: Config, lanes: int, parent: Finished | None, *, robust: bool) -> float:
        key = (self._tried.key(structure), lanes, None if parent is None else parent.number, robust)
        costs = self._seconds.setdefault(self.backbone(structure), {})
        if key not in costs:
            config = structure if parent is None else self.promoted(parent, structure)
            config = self.common(structure) | config
            plain = self.is_plain(structure)
            costs[key] = self._costs.predict(config, lanes, robust=robust, cross_validate=plain).seconds
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
        """The parent's config with the structure raised; what is new at this rung begins with sound values."""
        kept = {name: value for name, value in parent.config.items() if name not in self._ladder.names}
        return self._ladder.completed(kept | structure)

    def common(self, structure: Config) -> Config:
        """Features are tried with small heads first: large ones cost more than the features do."""
        first_time = self._ladder.rung(structure) == 0 and not self._tried.groups_of_base()[self._tried.base(structure)]
        return self._ladder.small if first_time else {}
