"""What a search on rungs learns from its trials, and which of its choices is worth most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.costing import Candidate
from studies.gain import Surface, standard_draws
from studies.rungs import worth_most
from studies.strategy import Finished
from studies.tried import TriedStructures

from .made_up import SPACE, TASK, Machine, N, Search, ladder


def test_stages_that_were_given_up_are_expected_to_be_no_good() -> None:
    search = Search(Machine(), 600).run()
    stages = next(arm.structure for arm, _, _ in search.arms if arm.rung == 2 and not arm.recipe)
    config = search.config(stages)
    learnt = []
    for given_up in (False, True):
        tried = TriedStructures(ladder(), "accuracy", "maximize")
        for trial in search.trials:
            if not ladder().rung(trial.config):
                tried.ended(trial)
        tried.ended(Finished(10**6, config, None, 0, given_up=given_up))
        seen = tried.observations()
        at = tried.point(stages)
        (mean,), (deviation,) = Surface(seen).predict([at])
        learnt.append((len(seen), mean, deviation))
    assert learnt[1][0] == learnt[0][0] + 1
    assert learnt[1][1] > learnt[0][1]
    assert learnt[1][2] < learnt[0][2]


def test_what_another_way_to_train_the_same_stages_changes_is_learnt() -> None:
    spreads = []
    for change in (0.0, 0.05):
        tried = TriedStructures(ladder(), "accuracy", "maximize")
        config = SPACE.validate(ladder().completed(TASK.recipe | {"unfrozen_stages": 3}))
        before = tried.spread()
        for number in range(30):
            tried.ended(
                Finished(number, config | {"fine_tune_rate": 0.01 + number / 100}, 0.9 + number % 2 * change, N)
            )
        spreads.append(tried.spread())
    assert spreads[0] < 0.5 * before
    assert spreads[1] == pytest.approx(before, rel=0.05)


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.1, 100.0)), min_size=1, max_size=8), st.floats(0, 10))
def test_what_is_chosen_brings_at_least_as_much_as_the_cheap_ones_in_its_time(
    gains_and_seconds: list[tuple[float, float]], patience: float
) -> None:
    standard = standard_draws(200, len(gains_and_seconds), np.random.default_rng(0))
    candidates = [
        Candidate({"number": number}, 1, gain, seconds, drawn=-gain * np.abs(standard[:, number]))
        for number, (gain, seconds) in enumerate(gains_and_seconds)
    ]
    chosen = worth_most(candidates, 0.0, patience)
    cheapest_first = max(candidates, key=lambda each: each.gain / (each.seconds + patience))
    assert chosen in candidates
    assert chosen.seconds >= min(each.seconds for each in candidates)
    # Never one that gains less in more time.
    assert chosen.gain >= cheapest_first.gain * 0.8 or chosen.seconds <= cheapest_first.seconds


def test_dear_ones_are_chosen_where_many_cheap_ones_are_of_one_kind() -> None:
    standard = standard_draws(500, 21, np.random.default_rng(0))
    dear = Candidate({"dear": 1}, 1, 0.08, 100.0, drawn=-0.2 * standard[:, 20])
    same = [Candidate({"cheap": n}, 1, 0.02, 5.0, drawn=-0.05 * standard[:, 0]) for n in range(20)]
    apart = [Candidate({"cheap": n}, 1, 0.06, 5.0, drawn=-0.15 * standard[:, n]) for n in range(20)]
    assert worth_most([*same, dear], 0.0, 0.0) == dear
    assert worth_most([*apart, dear], 0.0, 0.0) in apart
