"""How a portfolio is chosen and checked, on matrices that are made up and on a small study."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.portfolio.candidates import Candidate, Recorded, candidates_of
from bench.portfolio.command import main
from bench.portfolio.report import answers, page
from bench.portfolio.selection import Row, greedy, left_out, regrets, trials_at_random, trials_in_order
from search_spaces import FRUIT, TASKS, Config
from search_spaces.transfer import frozen_recipe
from studies import TrialRecord
from studies.portfolio import adapted, is_transfer_space

from ..pomona.photos import tiny_photos
from ..toys import small_weights

TASK_NAMES = ("a", "b", "c")
ROWS = st.lists(
    st.tuples(st.sampled_from(TASK_NAMES), *(st.integers(0, 100) for _ in TASK_NAMES)), min_size=1, max_size=10
).map(
    lambda drawn: [
        Row(place, task, {name: value / 100 for name, value in zip(TASK_NAMES, values, strict=True)})
        for place, (task, *values) in enumerate(drawn)
    ]
)


def best_of(rows: list[Row], task: str) -> float:
    return max(row.values[task] for row in rows)


@given(ROWS, st.integers(1, 6))
def test_a_portfolio_is_of_different_rows_and_begins_with_that_of_a_smaller_one(rows: list[Row], size: int) -> None:
    chosen = greedy(rows, TASK_NAMES, size)
    assert 1 <= len(chosen) <= size
    assert len({row.candidate for row in chosen}) == len(chosen)
    assert greedy(rows, TASK_NAMES, max(size - 1, 1)) == chosen[: max(size - 1, 1)]


@given(ROWS)
def test_with_room_for_all_every_task_has_its_best(rows: list[Row]) -> None:
    chosen = greedy(rows, TASK_NAMES, len(rows))
    for task in TASK_NAMES:
        assert best_of(chosen, task) == best_of(rows, task)


@given(ROWS)
def test_regrets_are_shares_and_the_best_has_none(rows: list[Row]) -> None:
    lost = regrets(rows, TASK_NAMES)
    for task in TASK_NAMES:
        assert all(0 <= one[task] <= 1 for one in lost)
        assert min(one[task] for one in lost) == 0


@given(ROWS, st.integers(1, 4))
def test_a_task_left_out_is_not_seen(rows: list[Row], size: int) -> None:
    """Neither its values nor the candidates found on it change what is chosen for it."""
    for one in left_out(rows, TASK_NAMES, size):
        changed = [
            dataclasses.replace(row, values={**row.values, one.task: 0.5 * row.values[one.task]})
            for row in rows
            if row.task != one.task
        ]
        (again,) = (other for other in left_out(changed, TASK_NAMES, size) if other.task == one.task)
        assert again.size == one.size
        assert again.value == pytest.approx(0.5 * one.value)
        assert one.value <= one.best


def test_what_is_good_everywhere_comes_first_and_specialists_follow() -> None:
    rows = [
        Row(0, "a", {"a": 1.0, "b": 0.0}),
        Row(1, "a", {"a": 0.9, "b": 0.9}),
        Row(2, "b", {"a": 0.0, "b": 1.0}),
        Row(3, "b", {"a": 0.0, "b": 0.0}),
    ]
    assert [row.candidate for row in greedy(rows, ("a", "b"), 4)] == [1, 0, 2]


def test_of_equals_the_quickest_is_taken() -> None:
    rows = [Row(0, "a", {"a": 0.9}, seconds=9.0), Row(1, "a", {"a": 0.9}, seconds=2.0)]
    assert [row.candidate for row in greedy(rows, ("a",), 1)] == [1]


def test_the_second_best_follow_once_every_task_has_its_best() -> None:
    rows = [Row(place, "a", {"a": value}) for place, value in enumerate((0.9, 0.8, 0.95, 0.1, 0.2))]
    assert [row.candidate for row in greedy(rows, ("a",), 5)] == [2, 0]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8), st.floats(0, 1))
def test_trials_to_a_value(values: list[float | None], target: float) -> None:
    in_order, at_random = trials_in_order(values, target), trials_at_random(values, target)
    assert (in_order is None) == (at_random is None)
    if in_order is not None and at_random is not None:
        assert 1 <= in_order <= len(values)
        assert 1 <= at_random <= len(values)
        assert values[in_order - 1] >= target  # type: ignore[operator]


def record(number: int, value: float | None, config: Config, state: str = "complete") -> TrialRecord:
    return TrialRecord(
        *("s", "data", number, state, "", config, value, 100, None, None, 0, None, 8, 1.0, None, 0, 0, "", "", "")
    )


def test_candidates_are_the_best_of_each_task_in_different_structures() -> None:
    plain = frozen_recipe("squeezenet1_1", 128)
    rates = [plain | {"learning_rate": rate} for rate in (1e-4, 1e-3, 1e-2)]
    other = plain | {"resolution": 96}
    trials = [record(n, 0.9 - n / 100, config) for n, config in enumerate([*rates, other])]
    trials += [record(4, 0.99, plain, "pruned")]
    studies = [Recorded("s", "fruit", 8, tuple(trials)), Recorded("t", "flowers", 8, (record(0, 0.5, rates[0]),))]
    assert [(one.task, one.number) for one in candidates_of(studies, 3)] == [("fruit", 0), ("fruit", 1), ("fruit", 3)]


def test_candidates_that_were_confirmed_come_before_those_that_may_have_been_lucky() -> None:
    config = frozen_recipe("squeezenet1_1", 128)
    configs = [config | {"resolution": side, "learning_rate": 1e-3} for side in (96, 128, 160)]
    trials = tuple(record(number, 0.9 + number / 100, config) for number, config in enumerate(configs))
    study = Recorded("s", "fruit", 8, trials, {0: 0.89, 1: 0.88})
    assert [one.number for one in candidates_of([study], 3)] == [0, 1, 2]


def test_the_page_says_how_many_trials_a_portfolio_saves() -> None:
    config = frozen_recipe("squeezenet1_1", 128)
    rows = [Row(0, "fruit", {"fruit": 0.9, "flowers": 0.8}), Row(1, "flowers", {"fruit": 0.85, "flowers": 0.85})]
    candidates = [Candidate(config, "fruit", "s", 0), Candidate(config, "flowers", "t", 0)]
    trials = tuple(record(n, value, config) for n, value in enumerate((0.5, 0.6, 0.95)))
    studies = [Recorded("s", "fruit", 8, trials)]
    facts = {
        "command": "python -m bench.portfolio check",
        "environment": {"device": "a machine", "numerics": "fp32", "python": "3", "versions": {}, "commit": "abc"},
        "epochs": 8,
        "seed": 0,
        "fingerprints": {"fruit": "f", "flowers": "g"},
    }
    lines = [" ".join(line.split()) for line in page(rows, candidates, studies, 2, facts).splitlines()]
    assert "| fruit | 85.00 | 90.00 | 1 of 1 | s | 3 | 3 | 2.0 |" in lines
    line = next(line for line in answers(left_out(rows, ("fruit", "flowers"), 2), studies) if "On fruit" in line)
    assert "of 1 recorded studies 1 got there, in 3 to 3 trials" in line


def test_photos_are_what_a_portfolio_is_for() -> None:
    fitting = {task.name for task in TASKS if is_transfer_space(task.space)}
    assert fitting == {"fruit", "cats_dogs", "cifar10", "flowers", "clothing", "images", "fashion_transfer"}


def test_numbers_become_the_nearest_that_there_are() -> None:
    config = FRUIT.recipe | {"head_width": 100, "augmentation": 9, "backbone": "resnet9"}
    own = adapted(config, FRUIT.space)
    changed = {name: value for name, value in own.items() if FRUIT.recipe[name] != value}
    assert changed == {"head_width": 128, "augmentation": 4, "backbone": FRUIT.space.dimensions["backbone"].options[0]}  # type: ignore[union-attr]


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["make", "--storage", str(tmp_path / "absent.log"), "--data", str(tmp_path)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_from_a_study_to_a_portfolio_and_its_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from studies import SearchRequest, prepare_search

    weights = tmp_path / "weights"
    weights.mkdir()
    small_weights(weights)
    storage = str(tmp_path / "journal.log")
    fixed = {"resolution": 96, "augmentation": 0, "unfrozen_stages": 0}
    for task in ("fruit", "images"):
        photos = tiny_photos(tmp_path / "data" / task)
        request = SearchRequest(
            task=task, data=str(photos), weights_dir=weights, storage=storage, trials=4, epochs=2, fixed=fixed
        )
        for _ in prepare_search(request, lambda line: None).run(lambda progress: None):
            pass
    options = ["--storage", storage, "--data", tmp_path / "data", "--weights-dir", weights, "--out", tmp_path / "out"]
    options += ["--epochs", 2, "--each", 2]
    shipped = tmp_path / "portfolio.json"
    arguments = [str(one) for one in options]
    assert main(["check", *arguments]) == 1
    assert "no candidate is trained on every task yet" in capsys.readouterr().err
    assert main(["make", *arguments, "--seconds", "0", "--shipped", str(shipped)]) == 1
    assert not shipped.exists()
    assert main(["make", *arguments, "--shipped", str(shipped)]) == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    cells = [json.loads(path.read_text()) for path in made]
    assert all(" threads, " in cell["machine"] for cell in cells)
    figures = json.loads(shipped.read_text())
    assert 1 <= len(figures["configs"]) <= 4
    assert set(figures["fingerprints"]) == {"fruit", "images"}
    assert main(["make", *arguments, "--shipped", str(shipped)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()} == made
    assert main(["check", *arguments]) == 0
    assert (tmp_path / "out" / "README.md").read_text() in capsys.readouterr().out
