"""Samplers and pruners that are cheap decide what Optuna's own decide."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from studies import Study
from studies.edges.optuna import suggest
from studies.sampling import Brackets, experimental, make_pruner, sampler_seed
from training import FitResult, State

from ..toys import TOY
from .settings import settings_for


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_proposals_are_those_of_optuna_s_tpe(tmp_path: object) -> None:
    """A sampler for each trial, seeded by its number, over all trials."""
    trials, values = 40, [(number * 7 % 11) / 11 for number in range(40)]
    study = Study.create("s", f"{tmp_path}/journal.log", settings_for(TOY, trials=trials), TOY.recipe)
    proposed = []
    for proposal in study.proposals(TOY.space, trials):
        proposed.append(proposal.config)
        value = values[proposal.number]
        study.recording.finish(proposal.number, FitResult(State.COMPLETE, "", value, (), 0.0, 0))

    plain = optuna.create_study(direction="maximize")
    plain.enqueue_trial(TOY.recipe)
    for number in range(trials):
        with experimental():
            seed = sampler_seed(0, number)
            plain.sampler = optuna.samplers.TPESampler(n_startup_trials=10, multivariate=True, group=True, seed=seed)
        trial = plain.ask()
        assert suggest(trial, TOY.space) == proposed[number]
        plain.tell(trial, values[number])


@given(
    st.sampled_from([1, 2, 3, 8, 9, 10, 27, 30]),
    st.lists(st.lists(st.integers(0, 5), min_size=30, max_size=30), min_size=1, max_size=20),
    st.sampled_from(["maximize", "minimize"]),
)
def test_brackets_decide_what_optuna_s_hyperband_decides(epochs: int, curves: list[list[int]], direction: str) -> None:
    ours, theirs = (optuna.create_study(study_name="s", direction=direction) for _ in range(2))
    ours.pruner = Brackets(epochs)
    theirs.pruner = optuna.pruners.HyperbandPruner(1, epochs, 3)
    for curve in curves:
        trials = [study.ask() for study in (ours, theirs)]
        for epoch in range(1, epochs + 1):
            decisions = []
            for trial in trials:
                trial.report(curve[epoch - 1], epoch)
                decisions.append(trial.should_prune())
            assert decisions[0] == decisions[1]
            if decisions[0]:
                break
        for study, trial in zip((ours, theirs), trials, strict=True):
            study.tell(trial, curve[0])
    assert [trial.system_attrs for trial in ours.trials] == [trial.system_attrs for trial in theirs.trials]


@given(st.text(max_size=5), st.integers(0, 10**5), st.integers(1, 300))
def test_a_trial_s_bracket_is_optuna_s(name: str, number: int, epochs: int) -> None:
    theirs = optuna.pruners.HyperbandPruner(1, epochs, 3)
    study = optuna.create_study(study_name=name or "s")
    theirs._try_initialization(study)
    trial = optuna.trial.create_trial(value=0.0)
    trial.number = number
    assert Brackets(epochs).bracket_of(study.study_name, number) == theirs._get_bracket_id(study, trial)


def test_an_unknown_pruner_is_refused() -> None:
    with pytest.raises(InputError, match="hyperband"):
        make_pruner("guess", 3)
