"""Which trials to average: a greedy choice among the kept outputs of the best ones.

Many trials are right on all validation examples but a few, which then say little of which of them to average. So the
choice is made on the changed forms of these examples too, where trials were scored on them: on photos of other people
such ensembles are several points better (docs/decisions/0034).

Source: R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes (2004), Ensemble selection from libraries of models, ICML:
forward selection with replacement, which begins with the best few.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.lanes.results import Outputs
from training.scoring.intervals import Estimate

from .scores import Score

MOST_DRAWS = 16
"""A trial may be drawn several times: its weight is its share of the draws."""
MOST_MEMBERS = 5
"""Different trials: each has to be trained, and takes its time for every answer."""

# Forms of the examples take part as long as all are no more than so many, so that nobody waits for a leaderboard.
_MOST_EXAMPLES = 10_000
# By which an addition must lower the loss where it changes no value: a smaller gain is not worth a model.
_LEAST_GAIN = 0.01

_Values = NDArray[np.floating[Any]]
_Rating = tuple[float, float]
"""A value with the sign that makes more better, and the negative of a loss."""


@dataclass(frozen=True)
class Selection:
    """Trials to average, with weights that sum to 1, ascending by number.

    `estimate` is the value of the mean on the examples that it was chosen on, so it is optimistically biased; `grouped`
    the same with groups as independent samples, None where there are none.
    """

    weights: Mapping[int, float]
    estimate: Estimate
    grouped: Estimate | None = None

    @property
    def value(self) -> float:
        return self.estimate.value


def select(
    outputs: Mapping[int, Outputs], metric: str, direction: str, kinds: Mapping[int, str] | None = None
) -> Selection | None:
    """The mean of outputs with the best value of `metric` that a greedy search finds; None where a single one is best.

    It looks for the best value on the examples and their changed forms, among trials that were scored on both. Where
    there are none, or what it finds is worse on the examples themselves than a single trial, it looks for the best
    value on these alone, among all.

    Outputs of other examples than the most have, and such as are not finite, are left out. The value is never worse
    than that of the best single trial. One set of outputs gives one selection, whatever its order.

    Args:
        outputs: by the numbers of their trials.
        kinds: of the trials: the search also begins with the best trial of each kind.
    """
    candidates = _comparable(outputs)
    if len(candidates) < 2:
        return None
    known = next(iter(candidates.values()))
    values = {number: one.values.astype(np.float64) for number, one in candidates.items()}
    search = _Search(values, Score.of(metric, known.classes, known.labels), direction)
    drawn = _drawn_on_forms(candidates, metric, direction, kinds or {})
    if len(drawn) < 2 or not search.is_no_worse(drawn):
        drawn = search.run(kinds or {})
    if len(drawn) < 2:
        return None
    count, mean = drawn.total(), search.mean_of(drawn)
    weights = {number: drawn[number] / count for number in sorted(drawn)}
    return Selection(weights, search.score.estimate(mean), search.score.grouped(mean, known.groups))


def _drawn_on_forms(
    candidates: Mapping[int, Outputs], metric: str, direction: str, kinds: Mapping[int, str]
) -> Counter[int]:
    """How often each trial is drawn by what it says of the examples and of their changed forms; empty where less than
    two were scored on these."""
    known = next(iter(candidates.values()))
    most = _MOST_EXAMPLES // max(len(known.labels), 1) - 1
    forms = {number: one.shifted for number, one in candidates.items() if one.shifted is not None}
    forms = {number: form[:most] for number, form in forms.items() if most > 0 and np.isfinite(form[:most]).all()}
    counts = Counter(form.shape for form in forms.values() if form.shape[1:] == known.values.shape)
    (shape, found), *_ = counts.most_common(1) or [((0,), 0)]
    if found < 2:
        return Counter()
    values = {
        number: np.concatenate([candidates[number].values, *form]).astype(np.float64)
        for number, form in forms.items()
        if form.shape == shape
    }
    score = Score.of(metric, known.classes, np.tile(known.labels, 1 + shape[0]))
    return _Search(values, score, direction).run(kinds)


def _comparable(outputs: Mapping[int, Outputs]) -> dict[int, Outputs]:
    """Outputs of the same examples, ascending by number."""
    finite = {number: one for number, one in sorted(outputs.items()) if np.isfinite(one.values).all()}
    kinds = {number: (one.split, one.classes, one.values.shape) for number, one in finite.items()}
    if not kinds:
        return {}
    (most, _), *_ = Counter(kinds.values()).most_common(1)
    return {number: finite[number] for number, kind in kinds.items() if kind == most}


class _Search:
    """Draws trials one after another, each the one that leaves the best mean; what counts is the best on the way.

    A draw may leave a worse mean, or the same trial once more: then the next one can get a smaller weight.
    """

    def __init__(self, values: Mapping[int, _Values], score: Score, direction: str) -> None:
        self.score = score
        self._values = values
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._drawn: Counter[int] = Counter()

    def is_no_worse(self, drawn: Counter[int]) -> bool:
        """Whether the mean of what is `drawn` has no worse a value than any trial alone."""
        alone = [self._sign * self.score.value(values) for values in self._values.values()]
        together = self._sign * self.score.value(self.mean_of(drawn))
        return all(together >= value for value in alone if math.isfinite(value))

    def run(self, kinds: Mapping[int, str]) -> Counter[int]:
        """How often each trial is drawn; empty where no trial has a value."""
        alone = {number: self._rating(values) for number, values in self._values.items()}
        usable = [number for number in alone if math.isfinite(alone[number][0])]
        ranked = sorted(usable, key=lambda number: (-alone[number][0], -alone[number][1], number))
        if ranked:
            self._start(ranked, kinds)
            self._draw_on(usable)
        return self._drawn

    def _start(self, ranked: list[int], kinds: Mapping[int, str]) -> None:
        """The best few, or the best ones of some kinds: as many as have the best mean."""
        first_of_kind = {kinds.get(number, ""): number for number in reversed(ranked)}
        of_kinds = [number for number in ranked if number in first_of_kind.values()]
        best = None
        for order in (ranked, of_kinds):
            for count in range(1, min(len(order), MOST_MEMBERS) + 1):
                drawn = Counter(order[:count])
                rating = self._rating(self.mean_of(drawn))
                if best is None or _helps(rating, best):
                    best, self._drawn = rating, drawn

    def _draw_on(self, usable: list[int]) -> None:
        drawn, best = Counter(self._drawn), self._rating(self.mean_of(self._drawn))
        while drawn.total() < MOST_DRAWS:
            full, count, total = len(drawn) == MOST_MEMBERS, drawn.total() + 1, drawn.total() * self.mean_of(drawn)
            ratings = {
                number: self._rating((total + self._values[number]) / count)
                for number in usable
                if number in drawn or not full
            }
            chosen = max(ratings, key=lambda number: (ratings[number], -number))
            drawn[chosen] += 1
            if _helps(ratings[chosen], best):
                best, self._drawn = ratings[chosen], Counter(drawn)

    def mean_of(self, drawn: Counter[int]) -> _Values:
        """The mean of what is drawn, in 64 bits."""
        total = np.zeros(next(iter(self._values.values())).shape)
        for number in sorted(drawn):
            total += drawn[number] * self._values[number]
        return total / drawn.total()

    def _rating(self, values: _Values) -> _Rating:
        value, loss = self._sign * self.score.value(values), self.score.loss(values)
        # Of numbers any change of the loss is one of the value, and no gain without its least size.
        return (0.0 * value if self.score.numeric else value), -loss


def _helps(after: _Rating, before: _Rating) -> bool:
    """A better value helps; of equal ones a loss that is clearly lower: many answers are right for either."""
    if after[0] != before[0]:
        return after[0] > before[0]
    return -after[1] < -before[1] * (1 - _LEAST_GAIN)
