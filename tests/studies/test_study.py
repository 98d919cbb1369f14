"""A study proposes and counts trials, and gives again those that a kill has left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search_spaces import Config, InputError
from studies import Study, leaderboard_rows, open_storage
from studies.edges.optuna import distribution_of
from studies.sampling import Brackets
from studies.status import status_of
from training import State
from training.lanes.results import MemoryNeed

from ..toys import TOY
from .settings import settings_for
from .small_studies import STRUCTURE, a_study, result


def optuna_trials(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=open_storage(url)).get_trials()


def test_the_recipe_is_trial_0(url: str) -> None:
    first = next(a_study(url).proposals(TOY.space, 3))
    assert (first.number, first.config) == (0, TOY.recipe)


def test_the_recipe_is_never_pruned_and_others_are(url: str) -> None:
    study = a_study(url, pruner="median", epochs=9)
    for proposal in study.proposals(TOY.space, 8):
        pruned = False
        for epoch in (1, 2, 3):
            # The recipe does worst of all, later ones are worse than those before.
            value = 0.0 if proposal.number == 0 else 1.0 - proposal.number / 10
            study.recording.report(proposal.number, epoch, value)
            pruned = pruned or study.recording.should_prune(proposal.number)
        assert not pruned or proposal.number > 0
        study.recording.finish(proposal.number, result(State.PRUNED if pruned else State.COMPLETE))
    states = [record.state for record in study.records()]
    assert states[0] == "complete"
    assert "pruned" in states


def test_the_recipe_competes_with_the_others(url: str) -> None:
    """Hyperband compares with the trials that it was asked about."""
    study = a_study(url, pruner="hyperband", epochs=9)
    proposals = study.proposals(TOY.space, 12)
    pruned = []
    for proposal in proposals:
        for epoch in range(1, 9):
            study.recording.report(proposal.number, epoch, 0.9 if proposal.number == 0 else 0.1)
            if study.recording.should_prune(proposal.number):
                pruned.append(proposal.number)
                break
        study.recording.finish(proposal.number, result())
    assert 0 not in pruned
    # Of the trials in the recipe's bracket, none is as good as the recipe.
    brackets = [Brackets(9).bracket_of("s", number) for number in range(12)]
    rivals = [number for number in range(1, 12) if brackets[number] == brackets[0]]
    assert rivals
    assert set(rivals) <= set(pruned)


@pytest.mark.parametrize(
    ("state", "expected", "feasible"),
    [
        (State.COMPLETE, TrialState.COMPLETE, True),
        (State.PRUNED, TrialState.PRUNED, True),
        (State.INFEASIBLE, TrialState.PRUNED, False),
        (State.FAILED, TrialState.FAIL, True),
    ],
)
def test_how_a_result_stands_in_the_storage(url: str, state: State, expected: TrialState, feasible: bool) -> None:
    study = a_study(url)
    number = next(study.proposals(TOY.space, 1)).number
    study.recording.finish(number, result(state, "why"))
    stored = optuna_trials(url)[0]
    assert stored.state == expected
    assert all(violation <= 0 for violation in stored.constraints.values()) == feasible
    record = study.records()[0]
    assert (record.state, record.reason) == (str(state), "why")


@pytest.mark.parametrize("predicted", [None, 90 * 2**30])
def test_by_how_much_memory_was_short_is_a_constraint(url: str, predicted: int | None) -> None:
    study = a_study(url)
    number = next(study.proposals(TOY.space, 1)).number
    need = MemoryNeed(84 * 2**30, predicted, 80 * 2**30)
    study.recording.finish(number, replace(result(State.INFEASIBLE, f"out of memory: {need}"), memory=need))
    stored = optuna_trials(url)[0]
    assert stored.constraints == {"feasible": 1.0, "memory": need.excess}
    kept = {name: stored.user_attrs.get(f"memory_{name}") for name in ("actual", "predicted", "limit")}
    assert kept == asdict(need)


def test_a_second_report_of_an_epoch_changes_nothing(url: str) -> None:
    study = a_study(url)
    number = next(study.proposals(TOY.space, 1)).number
    study.recording.report(number, 1, 0.5)
    study.recording.report(number, 1, 0.9)
    assert study.records()[0].curve == ((1, 0.5),)


def test_one_process_runs_a_study_and_a_killed_one_lets_go(url: str, tmp_path: Path) -> None:
    study = a_study(url)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from studies import Study\n"
            "with Study.open('s', sys.argv[1], to_run=True).running(): print('held', flush=True); sys.stdin.read()",
            url,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert study.is_running()
    with pytest.raises(InputError, match="another process"), study.running():
        pass
    holder.kill()
    holder.communicate()
    assert not study.is_running()
    with study.running():
        assert study.is_running()


def test_a_trial_killed_between_two_parameters_keeps_those_it_has(url: str) -> None:
    study = a_study(url)
    proposals = study.proposals(TOY.space, 5)
    study.recording.finish(next(proposals).number, result())
    dying = study._study.ask()
    kept = {name: dying._suggest(name, distribution_of(TOY.space.dimensions[name])) for name in list(TOY.recipe)[:6]}

    resumed = next(Study.open("s", url, to_run=True).proposals(TOY.space, 5))
    assert resumed.number == 1
    assert kept.items() <= resumed.config.items()
    assert TOY.space.validate(resumed.config) == resumed.config


def test_a_trial_is_found_by_its_number_once_it_was_started(url: str) -> None:
    study = a_study(url)
    with pytest.raises(InputError, match="no trial 0"):  # the recipe waits
        study.trial(0)
    assert study.ask(TOY.space, 2) is not None
    assert study.trial(0) == study.records()[0]
    for number in (-1, 1):
        with pytest.raises(InputError, match=f"no trial {number}"):
            study.trial(number)


def test_names(url: str) -> None:
    a_study(url)
    with pytest.raises(InputError, match="already"):
        a_study(url)
    for name in ("", "a/b", ".hidden"):
        with pytest.raises(InputError, match="name"):
            Study.create(name, url, settings_for(TOY), TOY.recipe)
    with pytest.raises(InputError, match="there is s"):
        Study.open("t", url)


def test_a_foreign_study_is_refused(url: str) -> None:
    optuna.create_study(study_name="theirs", storage=open_storage(url))
    with pytest.raises(InputError, match="not made by pomona"):
        Study.open("theirs", url)


# --- asking


def test_a_structure_is_held_and_the_rest_is_the_same_every_time(tmp_path: Path) -> None:
    configs = []
    for folder in ("one", "other"):
        study = a_study(str(tmp_path / folder / "journal.log"), trials=12)
        # The recipe waits, and is of another structure: whoever wants this one has to wait as well.
        assert study.ask(TOY.space, 12, structure=STRUCTURE) is None
        first = study.ask(TOY.space, 12)
        assert first is not None
        assert first.config == TOY.recipe
        study.recording.finish(0, result())
        for number in range(1, 12):
            proposal = study.ask(TOY.space, 12, structure=STRUCTURE)
            assert proposal is not None
            assert STRUCTURE.items() <= proposal.config.items()
            assert TOY.space.validate(proposal.config) == proposal.config
            study.recording.finish(proposal.number, result(right=number % 10))
        configs.append([record.config for record in study.records()])
    assert configs[0] == configs[1]
    # What is not held differs between trials, those that the model proposed included.
    assert len({config["learning_rate"] for config in configs[0]}) == 12
    assert len({config["fine_tune_rate"] for config in configs[0]}) == 12


@pytest.mark.parametrize("structure", [{"nonsense": 1}, {"batch_size": 17}])
def test_a_structure_outside_the_space_is_refused_and_makes_no_trial(url: str, structure: Config) -> None:
    study = a_study(url)
    with pytest.raises(InputError, match=next(iter(structure))):
        study.ask(TOY.space, 5, structure=structure)
    assert study.records() == []


def test_no_more_trials_are_under_way_than_were_asked_for(url: str) -> None:
    study = a_study(url)
    numbers = []
    while (proposal := study.ask(TOY.space, 4)) is not None:
        numbers.append(proposal.number)
    assert numbers == [0, 1, 2, 3]
    study.recording.finish(2, result(State.FAILED, "why"))
    assert study.ask(TOY.space, 4) is None
    assert study.ask(TOY.space, 5) is not None


def test_trials_left_by_a_kill_are_given_again(url: str) -> None:
    study = a_study(url)
    asked = [study.ask(TOY.space, 5, structure=structure) for structure in (None, None, STRUCTURE)]
    study.recording.finish(1, result())
    resumed = Study.open("s", url, to_run=True)
    assert resumed.left(TOY.space, 5) == [asked[0], asked[2]]
    resumed.recording.finish(0, result())
    assert [record.state for record in resumed.records()] == ["complete", "complete", "interrupted"]


# --- what is counted on the way


def test_counts_and_best_agree_with_the_records(url: str) -> None:
    study = a_study(url)
    states = [State.COMPLETE, State.PRUNED, State.INFEASIBLE, State.FAILED, State.COMPLETE, State.COMPLETE]
    for number, state in enumerate(states):
        proposal = study.ask(TOY.space, 10)
        assert proposal is not None
        study.recording.report(proposal.number, 1, 1.0)
        study.recording.finish(proposal.number, result(state, right=number % 5))
        assert study.ended == number + 1
    assert study.ask(TOY.space, 10) is not None
    for seen in (study, Study.open("s", url)):
        records = [record.state for record in seen.records()]
        assert seen.counts() == {state: records.count(state) for state in set(records)}
        assert list(seen.counts()) == ["complete", "interrupted", "pruned", "infeasible", "failed"]
        best = seen.best()
        assert best is not None
        assert best == seen.trial(4)


# --- trials that others put into the study


def enqueued(url: str, values: dict[str, object]) -> Study:
    """A study in which the recipe is done and `values` wait."""
    study = a_study(url)
    assert study.ask(TOY.space, 5) is not None
    study.recording.finish(0, result())
    optuna.load_study(study_name="s", storage=open_storage(url)).enqueue_trial(values)
    return Study.open("s", url, to_run=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"learning_rate": 1e12}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate|fast"),
        ({"learning_rate": float("nan")}, "learning_rate|nan"),
        ({"batch_size": 48}, "48"),
        ({"augmentation": 1.5}, "augmentation"),
        ({"optimizer": None}, "None"),
        ({"size": 3}, "unknown dimension 'size'"),
    ],
)
def test_a_value_that_the_space_has_not_fails_its_trial_alone(url: str, values: dict[str, object], reason: str) -> None:
    study = enqueued(url, values)
    proposal = study.ask(TOY.space, 3)
    assert proposal is not None
    assert proposal.number == 2
    failed = study.trial(1)
    assert failed.state == "failed"
    assert re.search(reason, failed.reason)
    assert failed.reason.startswith("not a config of the space: ")
    # So does one of which a kill left a part.
    assert [again.number for again in Study.open("s", url, to_run=True).left(TOY.space, 3)] == [2]


def test_what_an_enqueued_trial_leaves_open_is_drawn(url: str) -> None:
    proposal = enqueued(url, {"batch_size": 16}).ask(TOY.space, 3)
    assert proposal is not None
    assert proposal.config["batch_size"] == 16
    assert TOY.space.validate(proposal.config) == proposal.config


def test_a_trial_with_other_choices_added_by_others_does_not_end_the_study(url: str) -> None:
    choices = {"batch_size": optuna.distributions.CategoricalDistribution([48, 96])}
    theirs = optuna.trial.create_trial(params={"batch_size": 48}, distributions=choices, value=0.99)
    study = a_study(url, trials=20)
    optuna.load_study(study_name="s", storage=open_storage(url)).add_trial(theirs)
    study = Study.open("s", url, to_run=True)
    for _ in range(8):  # the sampler's model included
        proposal = study.ask(TOY.space, 20)
        assert proposal is not None
        study.recording.finish(proposal.number, result(right=proposal.number % 5))
    assert study.trial(1).state == "foreign"
    assert status_of(study)["states"]["foreign"] == 1
    assert study.ended == 8 + ("failed" in status_of(study)["states"])
    best = study.best()
    assert best is not None
    assert best.state == "complete"


def test_robustness_is_recorded_and_decides_between_trials_that_are_tied(url: str) -> None:
    study = a_study(url, trials=3)
    for right, robust in ((9, None), (9, 0.5), (8, 0.75)):
        proposal = study.ask(TOY.space, 3)
        assert proposal is not None
        study.recording.finish(proposal.number, replace(result(right=right), robust=robust))
    study = Study.open("s", url)
    assert [record.robust for record in study.records()] == [None, 0.5, 0.75]
    rows = leaderboard_rows(study.records(), direction=study.settings.direction)
    best = study.best()
    assert best is not None
    # Trial 0 was not measured: its value keeps it where it is.
    assert [row["number"] for row in rows] == [0, 2, 1]
    assert best.number == rows[0]["number"]
