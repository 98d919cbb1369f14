"""The history that is kept up to date says what one that is read anew says, and shows a sampler what it needs."""

from __future__ import annotations

import itertools
import random

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.history import GOOD, LATEST, History
from studies.ranking import ranked
from studies.records import record_of

VALUES = st.floats(-1, 1).map(lambda value: round(value, 1))  # so that there are equal ones
ENDINGS = ["complete", "pruned", "silent", "infeasible", "failed", "running", "waiting"]
DISTRIBUTIONS = {"x": FloatDistribution(0.0, 1.0)}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def trial_of(
    ending: str,
    value: float,
    epoch: int,
    x: float = 0.5,
    seed: int = 0,
    confirms: int | None = None,
    robust: float | None = None,
) -> FrozenTrial:
    state = {
        "complete": TrialState.COMPLETE,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
        "waiting": TrialState.WAITING,
    }.get(ending, TrialState.PRUNED)
    waiting = state == TrialState.WAITING
    ours: dict[str, object] = {"state": "pruned" if ending == "silent" else ending, "seed": seed}
    ours |= {"n": 50, "ci95_low": value - 0.3, "ci95_high": value + 0.3}
    if robust is not None:
        ours["robust"] = robust
    if confirms is not None:
        ours["confirms"] = confirms
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={} if waiting else {"x": x},
        distributions={} if waiting else DISTRIBUTIONS,
        intermediate_values={} if ending == "silent" else {epoch: value},
        user_attrs=ours,
        constraints={"feasible": abs(value) + 0.1} if ending == "infeasible" else None,
    )


def study_of(trials: list[FrozenTrial], direction: str = "maximize") -> optuna.Study:
    study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    return study


CONFIRMATIONS = st.builds(
    trial_of, st.sampled_from(ENDINGS), VALUES, st.integers(1, 4), seed=st.just(7), confirms=st.just(0)
)
TRIALS = st.lists(st.builds(trial_of, st.sampled_from(ENDINGS), VALUES, st.integers(1, 4)), max_size=40)


@given(TRIALS, st.integers(0, 40), st.sampled_from(["maximize", "minimize"]), st.integers(60, 90))
def test_looking_twice_is_the_same_as_looking_once(
    trials: list[FrozenTrial], first: int, direction: str, limit: int
) -> None:
    study = study_of(trials[:first], direction)
    twice = History(study)
    twice.refresh()
    study.add_trials(trials[first:])
    once = History(study)
    for history in (once, twice):
        history.refresh()
    assert once.counts() == twice.counts()
    assert once.best() == twice.best()
    assert once.ended == twice.ended == sum(trial.state.is_finished() for trial in study.trials)
    assert once.informative(limit, DISTRIBUTIONS) == twice.informative(limit, DISTRIBUTIONS)


MEASURED = st.builds(trial_of, st.sampled_from(ENDINGS), VALUES, st.integers(1, 4), robust=st.none() | VALUES)


@given(st.lists(MEASURED | CONFIRMATIONS, max_size=20), st.integers(0, 20), st.sampled_from(["maximize", "minimize"]))
def test_the_best_is_the_first_of_the_leaderboard(trials: list[FrozenTrial], first: int, direction: str) -> None:
    study = study_of(trials[:first], direction)
    history = History(study)
    history.refresh()
    study.add_trials(trials[first:])
    history.refresh()
    records = [record_of(trial, "s", "") for trial in study.trials if trial.state != TrialState.WAITING]
    order = ranked(records, direction)
    best = history.best()
    assert (best and best.number) == (order[0].number if order else None)


def test_a_trial_that_ends_later_is_taken_then(tmp_path: object) -> None:
    study = optuna.create_study(direction="maximize")
    history = History(study)
    trials = [study.ask(DISTRIBUTIONS) for _ in range(3)]
    history.refresh()
    assert (history.ended, len(history.running())) == (0, 3)
    for trial in trials:
        trial.set_user_attr("state", "complete")
        trial.set_user_attr("seed", 0)
    study.tell(trials[2], 0.5)
    study.tell(trials[0], 0.25)
    history.refresh()
    assert [trial.number for trial in history.running()] == [1]
    best = history.best()
    assert best is not None
    assert best.number == 2
    for number in (0, 2):
        found = history.first_of(study.trials[number].params, 0)
        assert found is not None
        assert found.number == number
    assert history.first_of(study.trials[1].params, 0) is None


def test_the_first_of_equal_configs_is_found_whichever_ended_first() -> None:
    study = study_of(
        [
            trial_of("running", 0.0, 1),
            trial_of("complete", 0.5, 1),
            trial_of("failed", 0.0, 1, x=0.25),
        ]
    )
    history = History(study)
    history.refresh()
    assert history.first_of({"x": 0.5}, 0) == study.trials[1]
    assert history.first_of({"x": 0.25}, 0) is None
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "state", "complete")
    study.tell(0, 0.1)
    history.refresh()
    assert history.first_of({"x": 0.5}, 0) == study.trials[0]


@given(TRIALS, st.sampled_from(["maximize", "minimize"]))
def test_up_to_the_limit_a_sampler_sees_everything(trials: list[FrozenTrial], direction: str) -> None:
    study = study_of(trials, direction)
    history = History(study)
    history.refresh()
    assert history.informative(40, DISTRIBUTIONS) == study.trials


@given(st.integers(0, 2**32), st.integers(200, 500), st.sampled_from(["maximize", "minimize"]))
def test_beyond_it_tpe_finds_the_same_good_trials_among_an_even_choice(seed: int, count: int, direction: str) -> None:
    draw = random.Random(seed)
    endings = draw.choices(ENDINGS, weights=[draw.random() + 0.1 for _ in ENDINGS], k=count)
    trials = [trial_of(end, draw.randint(-9, 9) / 10, draw.randint(1, 4)) for end in endings]
    study = study_of(trials[:150], direction)
    history = History(study)
    history.refresh()
    study.add_trials(trials[150:])
    history.refresh()
    with_result = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    limit = 100
    seen = history.informative(limit, DISTRIBUTIONS)
    chosen = [trial for trial in seen if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(chosen) == min(limit, len(with_result))
    assert [trial.number for trial in seen] == sorted({trial.number for trial in seen})
    assert {t.number for t in study.trials if t.state == TrialState.RUNNING} <= {trial.number for trial in seen}
    assert {trial.number for trial in with_result[-LATEST:]} <= {trial.number for trial in chosen}
    assert default_gamma(10**6) == GOOD
    assert _split_trials(study, chosen, GOOD)[0] == _split_trials(study, with_result, GOOD)[0]
    # Nowhere is a gap much larger than if they lay evenly.
    places = [with_result.index(trial) for trial in chosen]
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert max(gaps, default=0) <= 2 + len(with_result) / (limit - GOOD - LATEST) * 2


def test_trials_of_others_are_seen_where_they_fit_and_are_never_the_best() -> None:
    study = study_of([trial_of("complete", 0.5, 1)])
    for distribution, value in ((FloatDistribution(0.0, 1.0), 0.25), (FloatDistribution(0.0, 9.0), 7.0)):
        # Such names are theirs as well.
        theirs = {"group": "A", "state": "good"}
        study.add_trial(
            create_trial(params={"x": value}, distributions={"x": distribution}, value=9, user_attrs=theirs)
        )
    study.add_trial(create_trial(params={"y": 1.0}, distributions={"y": FloatDistribution(0.0, 1.0)}, value=9))
    history = History(study)
    history.refresh()
    best = history.best()
    assert best is not None
    assert best.number == 0
    assert history.counts() == {"complete": 1, "foreign": 3}
    assert history.ended == 1
    assert [trial.number for trial in history.informative(60, DISTRIBUTIONS)] == [0, 1]
    assert [trial.number for trial in history.one_per_parameter_set()] == [0]
    assert history.first_of({"x": 0.25}, 0) is None


def test_a_second_seed_of_a_config_is_another_run() -> None:
    study = study_of([trial_of("complete", 0.5, 1), trial_of("complete", 0.4, 1, seed=3)])
    history = History(study)
    history.refresh()
    assert history.first_of({"x": 0.5}, 0) == study.trials[0]
    assert history.first_of({"x": 0.5}, 3) == study.trials[1]
    assert history.first_of({"x": 0.5}, 1) is None


@given(st.lists(st.tuples(CONFIRMATIONS, st.integers(0, 40)), max_size=8), TRIALS, st.integers(60, 90))
def test_trials_that_confirm_others_are_not_there_for_the_search(
    confirmations: list[tuple[FrozenTrial, int]], trials: list[FrozenTrial], limit: int
) -> None:
    mixed = list(trials)
    for confirmation, place in confirmations:
        mixed.insert(min(place, len(mixed)), confirmation)
    searched, confirmed = History(study_of(trials)), History(study_of(mixed))
    for history in (searched, confirmed):
        history.refresh()
    assert searched.counts() == confirmed.counts()
    assert searched.ended == confirmed.ended
    places = [number for number, trial in enumerate(mixed) if "confirms" not in trial.user_attrs]
    assert [confirmed.place_of(number) for number in places] == list(range(len(trials)))
    for of_search, of_both in (
        (searched.informative(limit, DISTRIBUTIONS), confirmed.informative(limit, DISTRIBUTIONS)),
        (searched.one_per_parameter_set(), confirmed.one_per_parameter_set()),
        (searched.running(), confirmed.running()),
        (searched.waiting(), confirmed.waiting()),
        ([searched.best()], [confirmed.best()]),
    ):
        assert [places[trial.number] for trial in of_search if trial] == [trial.number for trial in of_both if trial]
