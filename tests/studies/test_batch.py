"""A transaction in a database leaves what the same calls leave one by one, and reads as they would meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import optuna
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from studies.batch import Batch
from studies.database import Database, database_of, open_database
from studies.location import DatabaseAt, location_of
from studies.patience import Patience
from studies.storage import open_storage, together

from ..toys import TOY
from .clock import Clock
from .small_studies import a_study, result
from .test_database import gone, lose_connections

TRIALS = 3


@pytest.fixture
def url(database: str) -> str:
    # By its name where it is a file.
    return database if "://" in database else f"sqlite:///{database}"


def opened(url: str, patience: Patience | None = None) -> Database:
    location = location_of(url)
    assert isinstance(location, DatabaseAt)
    return open_database(location, writable=True, patience=patience or Patience())


def with_trials(storage: Database, name: str) -> list[int]:
    study = optuna.create_study(study_name=name, storage=storage)
    return [study.ask()._trial_id for _ in range(TRIALS)]


def as_kept(trial: FrozenTrial) -> tuple[object, ...]:
    values = {step: "nan" if math.isnan(value) else value for step, value in trial.intermediate_values.items()}
    ended = trial.datetime_complete is not None
    return trial.number, trial.state, trial.values, values, trial.user_attrs, trial.system_attrs, ended


def kept(storage: Database, trials: list[int]) -> list[tuple[object, ...]]:
    return [as_kept(storage.get_trial(trial_id)) for trial_id in trials]


@contextmanager
def transactions(engine: sqlalchemy.Engine) -> Iterator[list[str]]:
    """One entry for each transaction that was committed or given up meanwhile."""
    found: list[str] = []

    def ended(_connection: Any) -> None:
        found.append("one")

    for name in ("commit", "rollback"):
        sqlalchemy.event.listen(engine, name, ended)
    try:
        yield found
    finally:
        for name in ("commit", "rollback"):
            sqlalchemy.event.remove(engine, name, ended)


PLACES = st.integers(0, TRIALS - 1)
NAMES = st.sampled_from(["a", "b"])
JSON = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.lists(st.integers(0, 3)))
VALUES = st.floats(width=32)
CALLS = st.one_of(
    st.tuples(st.just("set_trial_user_attr"), PLACES, NAMES, JSON),
    st.tuples(st.just("set_trial_system_attr"), PLACES, NAMES, JSON),
    st.tuples(st.just("set_trial_intermediate_value"), PLACES, st.integers(1, 4), VALUES),
    st.tuples(st.just("get_trial"), PLACES),
    st.tuples(st.just("get_all_trials")),
    st.tuples(
        st.just("set_trial_state_values"),
        PLACES,
        st.sampled_from([TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL]),
        st.one_of(st.none(), st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=1)),
    ),
)


def said(storage: Database, study: str, trials: list[int], call: tuple[Any, ...]) -> object:
    """What one of the calls returned or raised, told of two studies alike."""
    name, *arguments = call
    try:
        if name == "get_all_trials":
            study_id = storage.get_study_id_from_name(study)
            return [as_kept(trial) for trial in storage._get_trials(study_id, None, set(trials), -1)]
        answer = getattr(storage, name)(trials[arguments[0]], *arguments[1:])
    except optuna.exceptions.UpdateFinishedTrialError:
        return "has ended"
    return as_kept(answer) if isinstance(answer, FrozenTrial) else answer


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CALLS, max_size=8), max_size=4))
def test_calls_in_transactions_are_as_good_as_one_by_one(batches: list[list[tuple[Any, ...]]]) -> None:
    storage = opened("sqlite://")
    one_by_one, in_one = with_trials(storage, "one by one"), with_trials(storage, "in one")
    for calls in batches:
        expected = [said(storage, "one by one", one_by_one, call) for call in calls]
        with storage.transaction():
            found = [said(storage, "in one", in_one, call) for call in calls]
        assert found == expected
        assert kept(storage, in_one) == kept(storage, one_by_one)


def test_what_numbers_can_be_is_kept(url: str) -> None:
    storage = opened(url)
    one_by_one, in_one = with_trials(storage, "one by one"), with_trials(storage, "in one")
    for trials in (one_by_one, in_one):
        with storage.transaction() if trials is in_one else nullcontext():
            for step, value in enumerate((math.inf, -math.inf, math.nan, 1e-300), start=1):
                storage.set_trial_intermediate_value(trials[0], step, value)
            storage.set_trial_user_attr(trials[0], "é", {"text": ["'\"%s", None]})
            storage.set_trial_state_values(trials[0], TrialState.COMPLETE, [math.inf])
            storage.set_trial_user_attr(trials[1], "twice", 1)
            storage.set_trial_user_attr(trials[1], "twice", 2)
    assert kept(storage, in_one) == kept(storage, one_by_one)


def test_others_see_nothing_before_the_end_and_everything_after_it(url: str) -> None:
    storage, other = opened(url), opened(url)
    trials = with_trials(storage, "s")
    study_id = storage.get_study_id_from_name("s")
    before = kept(other, trials)
    with storage.transaction(), storage.transaction():
        for trial_id in trials:
            storage.set_trial_intermediate_value(trial_id, 1, 0.5)
        storage.set_study_system_attr(study_id, "verdicts", [1])
        assert storage.get_study_system_attrs(study_id) == {"verdicts": [1]}
        assert kept(other, trials) == before
        assert other.get_study_system_attrs(study_id) == {}
    assert kept(other, trials) == kept(storage, trials) != before
    assert other.get_study_system_attrs(study_id) == {"verdicts": [1]}


def test_an_exception_ends_a_transaction_like_any_other_end(url: str) -> None:
    storage = opened(url)
    trials = with_trials(storage, "s")

    def fail_in_the_middle() -> None:
        with storage.transaction():
            storage.set_trial_user_attr(trials[0], "a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_middle()
    assert storage.get_trial(trials[0]).user_attrs == {"a": 1}


def test_trials_that_are_new_or_claimed_within_one_are_seen(url: str) -> None:
    storage = opened(url)
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    study.enqueue_trial({"x": 1.0})
    cached = study._storage
    with together(cached):
        assert [trial.state.name for trial in study.get_trials(deepcopy=False)] == ["WAITING"]
        claimed, new = study.ask(), study.ask()
        claimed.suggest_float("x", 0.0, 2.0)
        new.report(0.25, 1)
        assert [trial.state.name for trial in study.get_trials(deepcopy=False)] == ["RUNNING"] * 2
        study.tell(new, 0.5)
        assert [trial.state.name for trial in study.get_trials(deepcopy=False)] == ["RUNNING", "COMPLETE"]
    found = optuna.load_study(study_name="s", storage=storage).get_trials()
    assert [(trial.state.name, trial.params) for trial in found] == [("RUNNING", {"x": 1.0}), ("COMPLETE", {})]
    assert found[1].intermediate_values == {1: 0.25}


PARAMETERS = {
    "depth": (3, optuna.distributions.IntDistribution(1, 5)),
    "rate": (1e-3, optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)),
    "kind": ("b", optuna.distributions.CategoricalDistribution(["a", "b"])),
}


def under_way(names: list[str]) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params={name: PARAMETERS[name][0] for name in names},
        distributions={name: PARAMETERS[name][1] for name in names},
        user_attrs={"group": 3, "note": "é"},
        system_attrs={"fixed_params": {"depth": 3}},
    )


def test_a_new_trial_is_as_optuna_would_make_it(url: str) -> None:
    storage = opened(url)
    study_id = storage.get_study_id_from_name(optuna.create_study(study_name="s", storage=storage).study_name)
    names = [[], ["depth", "rate", "kind"], ["rate"], ["kind", "depth"], []]
    made = [storage._create_new_trial(study_id, under_way(each)) for each in names]  # by Optuna, up to the second
    for number, (trial, each) in enumerate(zip(made, names, strict=True)):
        stored = storage.get_trial(trial._trial_id)
        expected = under_way(each)
        assert (trial.number, stored.number, stored.state) == (number, number, TrialState.RUNNING)
        assert stored.datetime_start == trial.datetime_start is not None
        for field in ("params", "distributions", "user_attrs", "system_attrs"):
            assert getattr(stored, field) == getattr(trial, field) == getattr(expected, field)
        assert list(stored.params) == each


def test_a_new_trial_is_made_in_few_statements_and_after_those_of_others(url: str) -> None:
    storage, other = opened(url), opened(url)
    study_id = storage.get_study_id_from_name(optuna.create_study(study_name="s", storage=storage).study_name)
    names = list(PARAMETERS)
    assert storage._create_new_trial(study_id, under_way(names)).number == 0
    assert other._create_new_trial(study_id, under_way(names)).number == 1
    statements: list[str] = []
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    assert storage._create_new_trial(study_id, under_way(names)).number == 2
    assert len(statements) <= 7
    assert other._create_new_trial(study_id, under_way(names)).number == 3


def test_a_parameter_of_another_kind_is_refused_as_optuna_does(url: str) -> None:
    storage = opened(url)
    study_id = storage.get_study_id_from_name(optuna.create_study(study_name="s", storage=storage).study_name)
    for _ in range(2):
        storage._create_new_trial(study_id, under_way(["depth"]))
    other = under_way(["depth"])
    other.params, other.distributions = {"depth": "a"}, {"depth": PARAMETERS["kind"][1]}
    with pytest.raises(ValueError, match="Cannot set different distribution kind"):
        storage._create_new_trial(study_id, other)
    assert len(storage.get_all_trials(study_id)) == 2


# --- what may come between


def test_what_was_meant_for_a_trial_that_another_driver_ended_is_dropped(url: str) -> None:
    storage, other = opened(url), opened(url)
    trials = with_trials(storage, "s")
    dropped: list[int] = []
    storage.dropped = dropped.append
    with storage.transaction():
        storage.set_trial_intermediate_value(trials[0], 1, 0.5)
        storage.set_trial_state_values(trials[0], TrialState.COMPLETE, [0.5])
        storage.set_trial_intermediate_value(trials[1], 1, 0.5)
        other.set_trial_state_values(trials[0], TrialState.FAIL)
    assert dropped == [trials[0]]
    found = [storage.get_trial(trial_id) for trial_id in trials]
    assert [trial.state.name for trial in found] == ["FAIL", "RUNNING", "RUNNING"]
    assert [trial.intermediate_values for trial in found] == [{}, {1: 0.5}, {}]


def test_where_something_can_not_be_written_nothing_is(url: str) -> None:
    storage = opened(url)
    trials = with_trials(storage, "s")

    def write_to_a_study_that_is_gone() -> None:
        with storage.transaction():
            storage.set_trial_user_attr(trials[0], "a", 1)
            storage.set_study_system_attr(10**6, "a", 1)

    with pytest.raises(KeyError):
        write_to_a_study_that_is_gone()
    assert storage.get_trial(trials[0]).user_attrs == {}


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_connection_that_is_lost_in_the_middle_changes_nothing(lost: int) -> None:
    clock = Clock()
    storage = opened("sqlite://", clock.patience([]))
    trials = with_trials(storage, "s")
    with storage.transaction():
        for trial_id in trials[:2]:
            storage.set_trial_intermediate_value(trial_id, 1, 0.5)
            storage.set_trial_user_attr(trial_id, "a", 1)
            storage.set_trial_state_values(trial_id, TrialState.PRUNED, [0.5])
        broken = lose_connections(storage, lost, gone)
    assert len(broken) == lost
    assert clock.now > 0
    found = [storage.get_trial(trial_id) for trial_id in trials[:2]]
    assert [(trial.state.name, trial.value, trial.user_attrs) for trial in found] == [("PRUNED", 0.5, {"a": 1})] * 2


def test_a_transaction_whose_end_came_through_without_an_answer_is_not_dropped() -> None:
    storage = opened("sqlite://", Clock().patience([]))
    trials = with_trials(storage, "s")
    dropped: list[int] = []
    storage.dropped = dropped.append
    write, times = Batch._write, []

    def unanswered(self: Batch, *arguments: Any) -> set[int]:
        found = write(self, *arguments)
        times.append(arguments)
        if len(times) == 1:
            raise gone()
        return found

    with pytest.MonkeyPatch.context() as patch, storage.transaction():
        patch.setattr(Batch, "_write", unanswered)
        storage.set_trial_state_values(trials[0], TrialState.COMPLETE, [0.5])
        storage.set_trial_user_attr(trials[1], "a", 1)
        storage._batch.write()  # type: ignore[union-attr]
    assert len(times) == 2
    assert dropped == []
    assert storage.get_trial(trials[0]).value == 0.5
    assert storage.get_trial(trials[1]).user_attrs == {"a": 1}


# --- how much a study asks of its database


def test_an_epoch_of_a_group_is_one_read_and_one_write(url: str) -> None:
    study = a_study(url, pruner="hyperband", epochs=9)
    numbers = [proposal.number for _ in range(4) if (proposal := study.ask(TOY.space, 9)) is not None]
    engine = database_of(study._study._storage).engine
    with transactions(engine) as found, study.together():
        study.recording.report_many({number: (1, number / 10) for number in numbers})
        study.recording.prune_many(numbers)
        study.recording.finish(numbers[0], result())
        study.recording.finish(numbers[1], result())
    assert len(found) == 2
    assert [record.curve for record in study.records()] == [((1, number / 10),) for number in numbers]
