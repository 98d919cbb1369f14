"""Whose turn it is to be trained further."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from studies.promotion import order_for_promotion
from studies.records import TrialRecord
from training import CrossValidated, Estimate
from training.scoring.racing import FOLDS

from ..toys import TOY
from .small_studies import a_study, result
from .test_leaderboard import a_record


def scored(number: int, value: float | None, cv_value: float | None = None, folds: int = FOLDS) -> TrialRecord:
    return replace(
        a_record(number), value=value, cv_value=cv_value, cv_folds=0 if cv_value is None else folds, state="complete"
    )


VALUES = st.none() | st.sampled_from([0.5, 0.6, 0.7, 0.8])
RECORDS = st.lists(st.tuples(VALUES, VALUES, st.sampled_from([1, FOLDS, 2 * FOLDS]))).map(
    lambda rows: [scored(number, *row) for number, row in enumerate(rows)]
)


@given(RECORDS, st.sampled_from(["maximize", "minimize"]))
def test_those_that_were_cross_validated_come_first_in_its_order(records: list[TrialRecord], direction: str) -> None:
    order = order_for_promotion(records, direction=direction)
    assert sorted(order) == [record.number for record in records if record.value is not None]
    sign = -1 if direction == "maximize" else 1
    whole = [record for record in records if record.cv_value is not None and record.cv_folds >= FOLDS]
    first = [number for number in order if number in {record.number for record in whole}]
    assert order[: len(first)] == first
    values = [sign * (records[number].cv_value or 0.0) for number in first]
    assert values == sorted(values)
    values = [sign * (records[number].value or 0.0) for number in order[len(first) :]]
    assert values == sorted(values)


def test_a_few_folds_are_not_compared_with_all() -> None:
    lucky, whole, none = scored(0, 0.7, 0.99, folds=2), scored(1, 0.8, 0.9), scored(2, 0.95)
    assert order_for_promotion([lucky, whole, none]) == [1, 2, 0]


def test_what_did_not_run_to_its_end_is_not_promoted() -> None:
    assert order_for_promotion([replace(scored(0, 0.9, 0.9), state="pruned"), scored(1, 0.5)]) == [1]


def test_what_cross_validation_says_is_read_back_from_a_study() -> None:
    study = a_study("sqlite://")
    for crossed in (CrossValidated(Estimate(0.0, 60, 0.0, 0.1), FOLDS, "", 1.0), None):
        proposal = study.ask(TOY.space, 2)
        assert proposal is not None
        study.finish(proposal.number, replace(result(), cross_validated=crossed))
    said = [(record.cv_value, record.cv_ci95, record.cv_folds) for record in study.records()]
    assert said == [(0.0, (0.0, 0.1), FOLDS), (None, None, 0)]
