"""Methods take turns block by block, a run that was stopped goes on, and each process counts its start once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.search_speed import figures
from bench.search_speed.configs import draw_configs
from bench.search_speed.job import Job, Train
from bench.search_speed.measure import measure, measure_growth, plan
from bench.search_speed.methods import Method, methods_named
from bench.search_speed.ours import in_groups
from bench.search_speed.process import Ended, Process
from bench.search_speed.results import Results, Search, load, save
from bench.search_speed.time_to_target import (
    Goal,
    Passes,
    Searcher,
    goal_of,
    measure_searches,
    search_in_a_process,
)
from search_spaces import FRUIT, Config, InputError

from .search_speed_examples import FIXED, JOB, Silent, empty, fake, planned_for

# --- blocks


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 6)), min_size=1, max_size=4),
)
def test_every_config_is_planned_once_for_each_method(sizes: list[tuple[int, int]]) -> None:
    methods = [fake(str(number)) for number in range(len(sizes))]
    counts = {str(number): count for number, (count, _) in enumerate(sizes)}
    planned = plan(methods, counts, {str(number): blocks for number, (_, blocks) in enumerate(sizes)})
    for method in methods:
        mine = [block for block in planned if block.method is method]
        assert [block.number for block in mine] == list(range(min(*sizes[int(method.name)])))
        assert [place for block in mine for place in block.configs] == list(range(counts[method.name]))


def test_methods_take_turns_and_who_begins_rotates() -> None:
    methods = [fake("a"), fake("b"), fake("c")]
    planned = plan(methods, {"a": 4, "b": 4, "c": 4}, {"a": 2, "b": 2, "c": 1})
    assert [(block.method.name, block.number) for block in planned] == [
        ("a", 0),
        ("b", 0),
        ("c", 0),
        ("b", 1),
        ("a", 1),
    ]


class Trainer:
    """Trains in no time; each trial counts as long as its method's name."""

    startup = 10.0

    def __init__(self, method: Method, job: Job, cache: Path) -> None:
        self.method = method
        self.closed = False

    def train(self, configs: Sequence[Config], on_ended: Callable[[Ended], None]) -> list[Ended]:
        ended = [Ended(position, float(len(self.method.name)), 0.5) for position in range(len(configs))]
        for one in ended:
            on_ended(one)
        return ended

    def close(self) -> None:
        self.closed = True


def test_a_start_is_counted_once_for_a_process() -> None:
    results = empty()
    measure(JOB, planned_for("expert", "ours"), results, lambda kept: None, Silent(), Trainer)
    assert [(b.method, b.number, b.startup) for b in results.blocks] == [
        ("expert", 0, 10.0),
        ("ours", 0, 10.0),
        ("ours", 1, 0.0),
        ("expert", 1, 0.0),
    ]


def test_results_are_kept_after_every_block_and_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    planned = planned_for("expert", "ours")

    class Stopped(Exception):
        pass

    def keep(measured: Results) -> None:
        save(file, measured, figures.derived(measured))
        if len(measured.blocks) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        measure(JOB, planned, empty(), keep, Silent(), Trainer)
    again = load(file)
    assert len(again.blocks) == 3
    measure(JOB, planned, again, lambda kept: None, Silent(), Trainer)
    whole = empty()
    measure(JOB, planned, whole, lambda kept: None, Silent(), Trainer)
    assert {(b.method, b.number): b.trained for b in again.blocks} == {
        (b.method, b.number): b.trained for b in whole.blocks
    }


def test_longer_lists_are_trained_by_ours_alone_and_only_once() -> None:
    results = empty()
    ours = methods_named(["ours"])[0]
    lists = [draw_configs(FRUIT, FIXED, count, 0) for count in (8, 12)]
    for _ in range(2):
        measure_growth(JOB, ours, lists, results, lambda kept: None, Silent(), Trainer)
    assert [len(block.trained) for block in results.growth] == [8, 12]


def test_all_trainers_are_closed_when_one_fails() -> None:
    opened: list[Trainer] = []

    class Failing(Trainer):
        def __init__(self, method: Method, job: Job, cache: Path) -> None:
            super().__init__(method, job, cache)
            opened.append(self)

        def train(self, configs: Sequence[Config], on_ended: Callable[[Ended], None]) -> list[Ended]:
            if self.method.name == "ours":
                raise RuntimeError("broken")
            return super().train(configs, on_ended)

    with pytest.raises(RuntimeError, match="broken"):
        measure(JOB, planned_for("expert", "ours"), empty(), lambda kept: None, Silent(), Failing)
    assert [trainer.closed for trainer in opened] == [True, True]


# --- processes


def _prepare_what_fails(job: Job) -> Train:
    raise InputError("no such thing")


def _prepare_what_breaks(job: Job) -> Train:
    raise ZeroDivisionError


def test_a_process_trains_block_after_block(tmp_path: Path) -> None:
    configs = draw_configs(FRUIT, FIXED, 3, 0)
    process = Process(fake("a"), JOB, tmp_path)
    try:
        heard: list[Ended] = []
        for block in (configs, configs[:1]):
            ended = process.train(block, heard.append)
            assert [(one.position, one.accuracy) for one in ended] == [
                (position, config["learning_rate"]) for position, config in enumerate(block)
            ]
        assert [one.position for one in heard] == [2, 1, 0, 0]
        assert process.startup > 0
    finally:
        process.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "error", "match"),
    [(_prepare_what_fails, InputError, "no such thing"), (_prepare_what_breaks, RuntimeError, "ZeroDivisionError")],
)
def test_what_fails_in_a_process_fails_here(
    prepare: Callable[[Job], Train], error: type[Exception], match: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=match):
        Process(Method("a", "a", prepare), JOB, tmp_path)


# --- ours


@given(st.lists(st.integers(0, 3), max_size=20))
def test_groups_are_of_one_structure_and_every_result_finds_its_config(structures: list[int]) -> None:
    configs: list[Config] = [{"structure": structure, "place": place} for place, structure in enumerate(structures)]
    groups: list[set[object]] = []

    def train(group: list[Config]) -> list[float | None]:
        groups.append({config["structure"] for config in group})
        return [float(config["place"]) for config in group]

    found = dict(in_groups(lambda config: config["structure"], train, configs))
    assert found == {place: float(place) for place in range(len(configs))}
    assert all(len(group) == 1 for group in groups)
    assert len(groups) == len(set(structures))


# --- until the target


def _find_by_seed(job: Job, goal: Goal, passes: Passes) -> tuple[float | None, int]:
    return (1.0, 3) if passes(0.96, 334) and goal.seed == 0 else (None, 50)


def test_searches_rotate_and_are_made_once() -> None:
    results = empty()
    searchers = [Searcher(name, name, _find_by_seed) for name in ("one", "two")]
    goals = [goal_of(FRUIT, FIXED, None, 50, seed) for seed in (0, 1)]

    def search(searcher: Searcher, job: Job, goal: Goal) -> Search:
        return Search(searcher.name, goal.seed, 1.0, 1)

    for _ in range(2):
        measure_searches(JOB, goals, results, lambda kept: None, Silent(), searchers, search)
    assert [(found.method, found.seed) for found in results.searches] == [
        ("one", 0),
        ("two", 0),
        ("two", 1),
        ("one", 1),
    ]


def test_the_target_is_the_tasks_unless_another_is_named() -> None:
    assert goal_of(FRUIT, FIXED, None, 50, 0).target == 0.92
    assert goal_of(FRUIT, FIXED, 0.5, 50, 0).target == 0.5
    with pytest.raises(InputError, match="--target"):
        goal_of(replace(FRUIT, target=None), FIXED, None, 50, 0)


@pytest.mark.slow
def test_a_search_counts_from_the_start_of_its_process() -> None:
    for seed, reached in ((0, True), (1, False)):
        found = search_in_a_process(Searcher("one", "one", _find_by_seed), JOB, goal_of(FRUIT, FIXED, None, 50, seed))
        assert (found.method, found.seed, found.complete) == ("one", seed, 3 if reached else 50)
        assert (found.seconds is not None and found.seconds > 1.0) == reached
