"""What a search is going to do, in predicted seconds: said at its start, and what a default time is made from."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass

from training import structure_part
from training.lanes.costs import CostModel
from training.models.ladder import Ladder, ladder_of

from .plan import Plan, duration_text

# A default time lies in between, in seconds, and is whole minutes.
_LEAST_TIME, _MOST_TIME = 120, 1200
# It is good for the cheap trials so many times over, and for so many dear ones.
_CHEAP, _DEAR = 3, 3
_DRAWN = 16


@dataclass(frozen=True)
class Outlook:
    """Predicted seconds.

    Attributes:
        choices: of frozen features; 0 where there is nothing to unfreeze.
        cheap: heads on all of these, or a quick trial where nothing can be unfrozen.
        dear: (least, median, most) of a run whose stages train, or of any trial where nothing can be unfrozen.
        recipe: the task's.
    """

    choices: int
    cheap: float
    dear: tuple[float, float, float]
    recipe: float

    @property
    def sensible_seconds(self) -> float:
        """A time that suits what the work costs on this machine."""
        wanted = _CHEAP * self.cheap + _DEAR * self.dear[1]
        return float(min(max(60 * math.ceil(wanted / 60), _LEAST_TIME), _MOST_TIME))

    def __str__(self) -> str:
        least, _, most = (_about(seconds) for seconds in self.dear)
        recipe = f"the recipe about {_about(self.recipe)}, once that is a tenth of the time left"
        if not self.choices:
            return f"a group of trials takes {least} to {most} by its structure, cheap ones come first; {recipe}"
        return (
            f"heads on {self.choices} choices of frozen features take about {_about(self.cheap)}; a run that trains "
            f"stages {least} to {most}; {recipe}"
        )


def outlook_of(plan: Plan, costs: CostModel) -> Outlook:
    """Raises InputError where the weights of a backbone can't be read."""
    recipe = costs.predict(plan.task.recipe).seconds
    ladder = ladder_of(plan.task.space)
    if ladder is None:
        generator = random.Random(0)
        drawn = [structure_part(plan.task.space.sample(generator)) for _ in range(_DRAWN)]
        seconds = [costs.predict(structure).seconds for structure in drawn]
        return Outlook(0, min(seconds), _spread(seconds), recipe)
    middle = ladder.free_values()[len(ladder.free_values()) // 2]
    cheap = [costs.predict(ladder.small | ladder.lowest(base | middle), plan.lanes).seconds for base in ladder.bases()]
    dear = [seconds for base in ladder.bases() for seconds in _with_stages(ladder, costs, ladder.lowest(base | middle))]
    if not dear:
        return Outlook(0, min(cheap), _spread(cheap), recipe)
    return Outlook(len(cheap), sum(cheap), _spread(dear), recipe)


def _with_stages(ladder: Ladder, costs: CostModel, lowest: dict[str, float | int | str | bool]) -> list[float]:
    """Of the fewest and the most stages on plain features."""
    base = {name: lowest[name] for name in ladder.base}
    free = {name: lowest[name] for name in ladder.free}
    stages = [s for s in ladder.above(base, free) if ladder.rung(s) == len(ladder.climbs)]
    plain = [s for s in stages if all(s.get(name) == lowest.get(name) for name in ladder.climbs[0])]
    return [costs.predict(structure).seconds for structure in (*plain[:1], *plain[-1:])]


def _spread(seconds: list[float]) -> tuple[float, float, float]:
    return min(seconds), statistics.median(seconds), max(seconds)


def _about(seconds: float) -> str:
    return duration_text(round(seconds, 1) if seconds < 10 else round(seconds))
