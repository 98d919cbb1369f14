"""Which trials are promoted first: the order that a scheduler goes by when it gives some of them more training."""

from __future__ import annotations

from collections.abc import Sequence

from training.scoring.racing import FOLDS

from .records import TrialRecord


def order_for_promotion(records: Sequence[TrialRecord], *, direction: str = "maximize") -> list[int]:
    """The numbers of the trials that ran to their end, best first; those without a value are left out.

    What counts is the value of cross-validation where a trial has one for which every example was held out at least
    once: one split of some hundred examples tells few of them apart. These come first. The others, which left the race
    clearly behind, never entered it, or trained what is not cross-validated (stages, augmented views), follow by their
    values on the validation split. Equal ones stand in the order in which they were proposed.
    """
    sign = -1.0 if direction == "maximize" else 1.0

    def order(record: TrialRecord) -> tuple[bool, float, float, int]:
        assert record.value is not None
        is_whole = record.cv_value is not None and record.cv_folds >= FOLDS
        crossed = sign * record.cv_value if record.cv_value is not None and is_whole else 0.0
        return not is_whole, crossed, sign * record.value, record.number

    ended = [record for record in records if record.state == "complete" and record.value is not None]
    return [record.number for record in sorted(ended, key=order)]
