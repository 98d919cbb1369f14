from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import curves, leaderboard, leaderboard_rows, to_cells, to_csv, to_json
from studies.leaderboard import differing_params
from studies.records import STATE_ORDER, TrialRecord
from training import CrossValidated, Estimate, wilson

from ..toys import TOY
from .small_studies import a_study, result

STATES = st.sampled_from(STATE_ORDER)


@st.composite
def record_lists(draw: st.DrawFn) -> list[TrialRecord]:
    count = draw(st.integers(0, 12))
    return [a_record(n, draw(STATES), draw(st.integers(0, 50)), draw(st.floats(1e-4, 1.0))) for n in range(count)]


def a_record(number: int, state: str = "complete", right: int | None = 40, rate: float = 0.1) -> TrialRecord:
    if state in ("failed", "infeasible"):
        right = None
    value = None if right is None else right / 50
    interval = None if value is None else wilson(value, 50).ci95
    return TrialRecord(
        study="s",
        data="rendered (seed 0)",
        number=number,
        state=state,
        reason="" if state == "complete" else f"it was {state}",
        config={"rate": rate, "kind": "same"} | ({"extra": 3} if number % 2 else {}),
        value=value,
        n=0 if value is None else 50,
        ci95=interval,
        group_value=value,
        n_groups=0 if value is None else 25,
        groups_ci95=None if value is None else wilson(value, 25).ci95,
        epochs=3,
        seconds=1.5,
        images_per_second=100.0,
        parameters=1000,
        seed=0,
        engine="inline",
        weights="random",
        note="",
        curve=((1, 0.5), (2, 0.6)),
    )


@given(record_lists())
def test_every_trial_has_one_row_and_those_with_a_model_are_ranked_by_value(records: list[TrialRecord]) -> None:
    rows = leaderboard_rows(records)
    assert sorted(row["number"] for row in rows) == [record.number for record in records]
    ranked = [row for row in rows if row["state"] in ("complete", "interrupted") and row["value"] is not None]
    assert rows[: len(ranked)] == ranked
    assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    assert all(row["rank"] is None for row in rows[len(ranked) :])
    # Of equal ones those that ran to their end come first.
    keys = [(-row["value"], row["state"] != "complete", row["number"]) for row in ranked]
    assert keys == sorted(keys)


def test_one_that_was_interrupted_before_its_first_epoch_ended_has_no_rank() -> None:
    records = [a_record(0, "interrupted", right=None), a_record(1, "pruned"), a_record(2, "interrupted", right=49)]
    rows = leaderboard_rows([*records, a_record(3)])
    assert [(row["number"], row["rank"]) for row in rows] == [(2, 1), (3, 2), (0, None), (1, None)]


def test_speeds_of_photos_and_of_kept_features_are_two_columns() -> None:
    photos = a_record(0)
    features = replace(photos, number=1, images_per_second=None, features_per_second=48618.0)
    headings, cells = to_cells(leaderboard_rows([photos, features]), "accuracy")
    table = [dict(zip(headings, line, strict=True)) for line in cells]
    assert [(line["img/s"], line["features/s"]) for line in table] == [("100", ""), ("", "48618")]
    assert [row["images_per_second"] for row in leaderboard_rows([photos, features])] == [100.0, None]
    headings, _ = to_cells(leaderboard_rows([features]), "accuracy")
    assert "img/s" not in headings


@given(record_lists())
def test_the_order_of_the_records_does_not_matter(records: list[TrialRecord]) -> None:
    assert to_json(leaderboard_rows(records)) == to_json(leaderboard_rows(records[::-1]))


@given(record_lists())
def test_json_has_the_fields_of_the_contract_and_csv_the_same_values(records: list[TrialRecord]) -> None:
    rows = json.loads(to_json(leaderboard_rows(records)))
    wanted = {"rank", "number", "state", "value", "n", "ci95", "params", "epochs", "seconds", "seed", "reason", "data"}
    by_number = {record.number: record for record in records}
    for row in rows:
        assert wanted <= set(row)
        assert row["params"] == by_number[row["number"]].config
    if records:
        table = pd.read_csv(io.StringIO(to_csv(leaderboard_rows(records))))
        assert table["number"].tolist() == [row["number"] for row in rows]
        for text, row in zip(table["value"].tolist(), rows, strict=True):
            assert math.isnan(text) if row["value"] is None else text == row["value"]


@given(record_lists())
def test_the_frame_has_a_column_for_every_bound_metric_and_dimension(records: list[TrialRecord]) -> None:
    frame = leaderboard(records)
    assert len(frame) == len(records)
    for row, (_, flat) in zip(leaderboard_rows(records), frame.iterrows(), strict=True):
        assert flat["ci95_low"] == (row["ci95"][0] if row["ci95"] else None)
        assert flat["params.rate"] == row["params"]["rate"]
        assert all(flat[f"params.{name}"] is None for name in {"extra"} - set(row["params"]) if "params.extra" in flat)


def test_smaller_is_better_where_the_task_says_so() -> None:
    frame = leaderboard([a_record(0, right=40), a_record(1, right=10)], direction="minimize")
    assert frame["number"].tolist() == [1, 0]


def test_only_the_dimensions_that_differ_are_columns_for_people() -> None:
    headings, cells = to_cells(leaderboard_rows([a_record(0, rate=0.1), a_record(2, rate=0.2)]), "accuracy")
    assert "rate" in headings
    assert "kind" not in headings
    assert all(len(row) == len(headings) for row in cells)
    assert "80.00" in cells[0]


def test_of_a_part_of_the_rows_the_dimensions_are_shown_that_differ_in_all() -> None:
    rows = leaderboard_rows([a_record(0, rate=0.1), a_record(2, rate=0.2)])
    headings, cells = to_cells(rows[:1], "accuracy", differing_params(rows))
    assert dict(zip(headings, cells[0], strict=True))["rate"] == "0.1"


def test_reasons_are_shown() -> None:
    _, cells = to_cells(leaderboard_rows([a_record(0), a_record(1, "infeasible"), a_record(2, "failed")]), "accuracy")
    assert [row[-1] for row in cells] == ["", "it was infeasible", "it was failed"]


def test_robustness_is_a_column_for_people_where_it_was_measured() -> None:
    headings, cells = to_cells(leaderboard_rows([replace(a_record(0), robust=0.875), a_record(1)]), "accuracy")
    assert [dict(zip(headings, line, strict=True))["robust %"] for line in cells] == ["87.50", ""]
    headings, _ = to_cells(leaderboard_rows([a_record(0)]), "accuracy")
    assert "robust %" not in headings
    assert leaderboard([a_record(0)])["robust"].tolist() == [None]


def test_curves_have_a_row_an_epoch() -> None:
    assert curves([a_record(3)]).to_dict("list") == {"number": [3, 3], "epoch": [1, 2], "value": [0.5, 0.6]}


@pytest.mark.parametrize("form", [to_csv, to_json])
def test_no_trials_give_an_empty_table(form: object) -> None:
    assert form(leaderboard_rows([])) is not None  # type: ignore[operator]


def test_numbers_are_not_in_percent_and_other_metrics_stand_beside() -> None:
    record = replace(a_record(0), value=0.99991, ci95=(0.9998, 1.0), groups_ci95=None, secondary={"rmse": 0.25})
    headings, cells = to_cells(leaderboard_rows([record]), "r2")
    row = dict(zip(headings, cells[0], strict=True))
    assert (row["value"], row["95 %"], row["rmse"]) == ("0.999910", "0.999800 to 1.000000", "0.25")
    assert leaderboard_rows([record])[0]["beside"] == {"rmse": 0.25}


def test_cross_validation_stands_beside_the_value_where_there_is_any() -> None:
    plain, crossed = a_record(0), replace(a_record(1, right=30), cv_value=0.9, cv_ci95=(0.85, 0.93), cv_folds=10)
    assert "cv %" not in to_cells(leaderboard_rows([plain]), "accuracy")[0]
    headings, cells = to_cells(leaderboard_rows([plain, crossed]), "accuracy")
    rows = [dict(zip(headings, row, strict=True)) for row in cells]
    assert [row["trial"] for row in rows] == ["0", "1"]
    assert [(row["cv %"], row["cv 95 %"], row["folds"]) for row in rows] == [
        ("", "", ""),
        ("90.00", "85.0 to 93.0", "10"),
    ]
    frame = leaderboard([plain, crossed])
    assert frame[["cv_value", "cv_ci95_low", "cv_ci95_high", "cv_folds"]].values.tolist() == [
        [None, None, None, 0],
        [0.9, 0.85, 0.93, 10],
    ]


def test_what_cross_validation_says_is_read_back_from_a_study() -> None:
    study = a_study("sqlite://")
    for crossed in (CrossValidated(Estimate(0.0, 60, 0.0, 0.1), 3, "", 1.0), None):
        proposal = study.ask(TOY.space, 2)
        assert proposal is not None
        study.recording.finish(proposal.number, replace(result(), cross_validated=crossed))
    said = [(record.cv_value, record.cv_ci95, record.cv_folds, record.cv_n) for record in study.records()]
    assert said == [(0.0, (0.0, 0.1), 3, 60), (None, None, 0, 0)]
