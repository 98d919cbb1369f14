"""Which of a search's trials is better: the order of the leaderboard, and of what is trained from a study.

Trials stand by the value that they reached, the first among equals first. The third digit of a value on a few hundred
examples says nothing, though: within the interval of the best one, trials are tied. How they fare on examples as others
would bring them (`TrialRecord.robust`) then decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from .records import INTERRUPTED, STATE_ORDER, TrialRecord


def ranked(records: Iterable[TrialRecord], direction: str) -> list[TrialRecord]:
    """The trials of a search that have a rank, best first: a total order that does not depend on theirs.

    They stand by value, equal ones by number, those that ran to their end first. Of those that are `tied` with the
    best, the ones that have `robust` exchange their places among themselves: the best `robust` takes the first of these
    places, and so on, equal ones in the order that they had. So a trial without it stays where its value puts it,
    and where no trial has it all stand by value.
    """
    found = [record for record in records if has_rank(record) and record.confirms is None]
    found.sort(key=lambda record: by_value(record, direction))
    places = [place for place, r in enumerate(found) if r.robust is not None and tied(r, found[0], direction)]
    measured = sorted((found[place] for place in places), key=lambda record: by_robust(record, direction))
    for place, record in zip(places, measured, strict=True):
        found[place] = record
    return found


def has_rank(record: TrialRecord) -> bool:
    """Whether a trial ran to its end, or was interrupted after an epoch: there is a model of that value."""
    return record.state in ("complete", INTERRUPTED) and record.value is not None


class Best:
    """The first of `ranked`, kept up to date while trials end one after the other."""

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self.by_value: TrialRecord | None = None
        """The one with the best value."""
        self._measured: list[TrialRecord] = []
        # The best by `robust` of those that are tied with the best by value.
        self._by_robust: TrialRecord | None = None

    @property
    def record(self) -> TrialRecord | None:
        if self.by_value is None or self.by_value.robust is None:
            return self.by_value
        return self._by_robust

    def add(self, record: TrialRecord) -> None:
        """A trial with a value. One that is neither the best by value so far nor has `robust` may be left out."""
        if record.robust is not None:
            self._measured.append(record)
        if self.by_value is None or by_value(record, self._direction) < by_value(self.by_value, self._direction):
            self.by_value, self._by_robust = record, None
            candidates = self._measured
        else:
            candidates = [record]
        for one in candidates:
            if one.robust is not None and tied(one, self.by_value, self._direction):
                first = self._by_robust is None or self._order(one) < self._order(self._by_robust)
                self._by_robust = one if first else self._by_robust

    def _order(self, record: TrialRecord) -> tuple[float, float, int, int]:
        return by_robust(record, self._direction)


def tied(record: TrialRecord, best: TrialRecord, direction: str) -> bool:
    """Whether a trial lies inside the 95 % interval of the one with the best value, or beyond its better end.

    Only trials of the same weights are: between backbones `robust` was found to say nothing of photos by others
    (results/robustness, results/tie_break).

    It is the interval over groups where both trials have a value over groups, else that over examples; without one a
    trial is tied with the best only where their values are equal.
    """
    if record.weights != best.weights:
        return record.value == best.value and record.number == best.number
    value, interval = record.value, best.ci95
    if best.groups_ci95 is not None and best.group_value is not None and record.group_value is not None:
        value, interval = record.group_value, best.groups_ci95
    if interval is None or value is None or record.value == best.value:
        return record.value == best.value
    return value >= interval[0] if direction == "maximize" else value <= interval[1]


def by_value(record: TrialRecord, direction: str) -> tuple[float, int, int]:
    """What trials with a value are sorted by, the best first."""
    return sign_of(direction) * (record.value or 0.0), STATE_ORDER.index(record.state), record.number


def by_robust(record: TrialRecord, direction: str) -> tuple[float, float, int, int]:
    """What trials with a `robust` are sorted by, the best first."""
    return sign_of(direction) * (record.robust or 0.0), *by_value(record, direction)


def sign_of(direction: str) -> float:
    """What values are multiplied by so that less is better."""
    return -1.0 if direction == "maximize" else 1.0
