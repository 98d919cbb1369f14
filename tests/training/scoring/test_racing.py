"""A race drops who is clearly behind, and nobody else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped]

from training.scoring.racing import MOST_ENTRANTS, Race, entrants, t_quantile

N, LOOKS = 400, 5
Scores = NDArray[np.float64]


def simulated(skills: Sequence[float], seed: int, *, group_size: int = 1) -> tuple[list[int], Race]:
    """A race over five folds of photos of which a model gets a share of its skill right: who left, and the race.

    A photo is as hard for all models, and all photos of a group are alike.
    """
    generator = np.random.default_rng(seed)
    groups = np.arange(N) // group_size
    hard = generator.uniform(size=N)[groups]
    own = generator.uniform(size=(len(skills), N))[:, groups]
    right = np.where(own < 0.9, hard, generator.uniform(size=(len(skills), N))[:, groups]) < np.array(skills)[:, None]
    race = Race(len(skills), groups)
    left: list[int] = []
    for held in np.array_split(generator.permutation(N), LOOKS):
        race.add(held, right[race.running][:, held].astype(np.float64))
        left += race.drop_behind()
    return left, race


def test_who_is_far_behind_leaves_and_the_best_stays() -> None:
    for seed in range(20):
        left, race = simulated([0.95, 0.60, 0.94, 0.50], seed)
        assert {1, 3} <= set(left)
        assert race.running
        assert set(race.running) | set(left) == {0, 1, 2, 3}


@pytest.mark.parametrize("group_size", [1, 8])
def test_of_equal_ones_few_leave(group_size: int) -> None:
    races = [simulated([0.9] * 6, seed, group_size=group_size) for seed in range(100)]
    assert sum(bool(left) for left, _ in races) <= 25


@pytest.mark.parametrize("group_size", [1, 4])
def test_the_best_by_a_little_is_seldom_dropped(group_size: int) -> None:
    dropped = [0 in simulated([0.93, *[0.91] * 7], seed, group_size=group_size)[0] for seed in range(100)]
    assert sum(dropped) <= 5


def test_a_group_counts_as_one_sample() -> None:
    """Twenty photos of one fruit that one model has right and the other wrong are no twenty pieces of evidence."""
    lone, series = Race(2, np.arange(60)), Race(2, np.array([0] * 20 + list(range(1, 41))))
    scores = np.ones((2, 60))
    scores[1, :20] = 0
    for race in (lone, series):
        race.add(np.arange(60), scores)
    assert lone.drop_behind() == [1]
    assert series.drop_behind() == []


def test_who_has_left_is_scored_no_more_and_keeps_its_standing() -> None:
    race = Race(2, np.arange(100))
    first, second = np.arange(50), np.arange(50, 100)
    race.add(first, np.stack([np.ones(50), np.arange(50) % 4 / 4]))
    before = race.standing(1)
    assert race.drop_behind() == [1]
    race.add(second, np.zeros((1, 50)))
    assert race.standing(1) == before
    assert race.standing(0)[0] == 0.5
    assert race.drop_behind() == []


def test_a_model_without_finite_scores_leaves_and_the_others_stay() -> None:
    race = Race(3, np.arange(30))
    alike = np.linspace(0, 1, 30)
    race.add(np.arange(30), np.stack([np.full(30, math.nan), alike, alike]))
    assert race.drop_behind() == [0]
    assert race.running == [1, 2]


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(2, 20), st.integers(0, 1000))
def test_equal_scores_are_never_told_apart(noise: list[float], groups: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores: Scores = np.array([*noise, *generator.uniform(size=groups * 2)])
    race = Race(4, np.arange(len(scores)) % groups)
    race.add(np.arange(len(scores)), np.stack([scores] * 4))
    assert race.drop_behind() == []


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(1, 100)), max_size=20),
    st.floats(0, 500),
)
def test_the_best_enters_and_others_as_far_as_there_is_room(lanes: list[tuple[float, float]], room: float) -> None:
    values, works = [value for value, _ in lanes], [work for _, work in lanes]
    chosen = entrants(values, works, room)
    assert len(chosen) <= MOST_ENTRANTS
    assert bool(chosen) == bool(lanes)
    assert len(chosen) == 1 or sum(works[place] for place in chosen) <= room * (1 + 1e-9)
    assert [values[place] for place in chosen] == sorted((values[place] for place in chosen), reverse=True)
    if len(chosen) < MOST_ENTRANTS:
        spare = room - sum(works[place] for place in chosen)
        assert all(works[place] > spare - 1e-6 for place in range(len(lanes)) if place not in chosen)


@pytest.mark.parametrize("level", [0.975, 0.975 + 0.0125, 1 - 0.025 / 7])
@pytest.mark.parametrize("freedom", [9, 30, 150, 2000])
def test_quantiles_are_those_of_student(level: float, freedom: int) -> None:
    assert t_quantile(level, freedom) == pytest.approx(stdtrit(freedom, level), rel=0.02)


def test_of_one_group_nothing_is_known() -> None:
    assert t_quantile(0.975, 0) == math.inf
    race = Race(2, np.zeros(10, np.int64))
    race.add(np.arange(10), np.stack([np.ones(10), np.zeros(10)]))
    assert race.drop_behind() == []
