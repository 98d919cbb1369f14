from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search_spaces import InputError
from studies import Study, open_storage
from studies.edges.optuna import distribution_of
from studies.study import make_pruner
from training import FitResult, State

from ..toys import TOY
from .settings import settings_for


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "journal.log")


def a_study(url: str, **options: object) -> Study:
    return Study.create("s", url, settings_for(TOY, **options), TOY.recipe)  # type: ignore[arg-type]


def result(state: State = State.COMPLETE, reason: str = "", right: int = 8) -> FitResult:
    return FitResult(state, reason, right / 10, (), 1.0, 0, correct=(True,) * right + (False,) * (10 - right))


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
            study.report(proposal.number, epoch, value)
            pruned = pruned or study.should_prune(proposal.number)
        assert not pruned or proposal.number > 0
        study.finish(proposal.number, result(State.PRUNED if pruned else State.COMPLETE))
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
            study.report(proposal.number, epoch, 0.9 if proposal.number == 0 else 0.1)
            if study.should_prune(proposal.number):
                pruned.append(proposal.number)
                break
        study.finish(proposal.number, result())
    assert 0 not in pruned
    # Of the trials in the recipe's bracket, none is as good as the recipe.
    pruner = make_pruner("hyperband", 9)
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    pruner.prune(study._study, study._study.trials[0])
    brackets = [pruner._get_bracket_id(study._study, trial) for trial in study._study.trials]
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
    study.finish(number, result(state, "why"))
    stored = optuna_trials(url)[0]
    assert stored.state == expected
    assert all(violation <= 0 for violation in stored.constraints.values()) == feasible
    record = study.records()[0]
    assert (record.state, record.reason) == (str(state), "why")


def test_a_second_report_of_an_epoch_changes_nothing(url: str) -> None:
    study = a_study(url)
    number = next(study.proposals(TOY.space, 1)).number
    study.report(number, 1, 0.5)
    study.report(number, 1, 0.9)
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
    study.finish(next(proposals).number, result())
    dying = study._study.ask()
    kept = {name: dying._suggest(name, distribution_of(TOY.space.dimensions[name])) for name in list(TOY.recipe)[:6]}

    resumed = next(Study.open("s", url, to_run=True).proposals(TOY.space, 5))
    assert resumed.number == 1
    assert kept.items() <= resumed.config.items()
    assert TOY.space.validate(resumed.config) == resumed.config


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


def test_an_unknown_pruner_is_refused() -> None:
    with pytest.raises(InputError, match="hyperband"):
        make_pruner("guess", 3)
