"""Optuna's samplers by name: each proposes what Optuna's own would, from the trial's own seed, and quietly."""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces import Config, InputError
from studies import Study, samplers
from studies.edges.optuna import distribution_of, suggest
from studies.request import SAMPLERS
from studies.samplers import check_sampler
from studies.sampling import sampler_seed
from training import FitResult, State

from ..toys import TOY
from .settings import settings_for

TRIALS = 30
STRUCTURE: Config = {"batch_size": 16, "unfrozen_stages": 2, "head_width": 8, "augmentation": 2}


def value_of(config: Config) -> float:
    """Best at a learning rate of 1 and without weight decay."""
    return 1 / (1 + abs(float(config["learning_rate"]) - 1)) - float(config["weight_decay"])


def proposed(
    folder: Path, sampler: str, *, trials: int = TRIALS, stop: int = TRIALS, structures: bool = False, seed: int = 0
) -> list[Config]:
    """The configs of a search whose process dies before every trial from `stop` on."""
    settings = replace(settings_for(TOY, trials=trials, seed=seed), sampler=sampler)
    url = f"{folder}/journal.log"
    study = Study.create("s", url, settings, TOY.recipe)
    configs = []
    for number in range(trials):
        if number >= stop:
            study = Study.open("s", url)
        # As in lanes: three of four trials have the structure of others.
        structure = STRUCTURE if structures and number % 4 else None
        proposal = study.ask(TOY.space, trials, structure=structure)
        assert proposal is not None
        configs.append(proposal.config)
        result = FitResult(State.COMPLETE, "", value_of(proposal.config), (), 0.0, seed)
        study.recording.finish(proposal.number, result)
    return configs


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """Optuna's come by its logger and as Python's."""
    said: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    handler = Listening()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").addHandler(handler)
    # As in a process that has not used it.
    sys.modules.pop("optuna._gp.batched_lbfgsb", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        logging.getLogger("optuna").removeHandler(handler)
    assert said == []
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "tpe"])
def test_one_seed_gives_one_search_whatever_dies(name: str, tmp_path: Path) -> None:
    # The model of a Gaussian process is asked from the fourth trial on; it takes its time.
    trials = 6 if name == "gp" else TRIALS
    once = proposed(tmp_path / "a", name, trials=trials)
    assert proposed(tmp_path / "b", name, trials=trials, stop=4) == once
    assert proposed(tmp_path / "c", name, trials=trials, seed=1)[1:] != once[1:]
    assert all(TOY.space.validate(config) for config in once)


@pytest.mark.parametrize("name", SAMPLERS)
def test_trials_of_one_structure_have_it(name: str, tmp_path: Path) -> None:
    configs = proposed(tmp_path, name, trials=8, structures=True)
    alike = [config for number, config in enumerate(configs) if number % 4]
    assert all({part: config[part] for part in STRUCTURE} == STRUCTURE for config in alike)


def test_auto_is_tpe_and_all_others_differ(tmp_path: Path) -> None:
    found = {name: proposed(tmp_path / name, name, trials=8) for name in SAMPLERS}
    assert found["auto"] == found["tpe"]
    assert len({str(configs) for configs in found.values()}) == len(SAMPLERS) - 1


def test_random_is_optuna_s(tmp_path: Path) -> None:
    for number, config in enumerate(proposed(tmp_path, "random")[1:], start=1):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=sampler_seed(0, number)))
        assert suggest(study.ask(), TOY.space) == config


def test_cma_es_is_optuna_s(tmp_path: Path) -> None:
    """Of the numbers that take part in every trial; ours keeps no pickles in the storage."""
    names = [name for name, dimension in TOY.space.dimensions.items() if dimension.condition is None]
    numbers = {name: distribution_of(TOY.space.dimensions[name]) for name in names}
    numbers = {n: d for n, d in numbers.items() if not isinstance(d, optuna.distributions.CategoricalDistribution)}
    configs = proposed(tmp_path, "cmaes")
    theirs = optuna.create_study(direction="maximize")
    theirs.add_trial(
        optuna.trial.create_trial(
            params={name: TOY.recipe[name] for name in numbers}, distributions=numbers, value=value_of(TOY.recipe)
        )
    )
    for number, config in enumerate(configs[1:], start=1):
        theirs.sampler = optuna.samplers.CmaEsSampler(seed=sampler_seed(0, number))
        trial = theirs.ask(numbers)
        assert trial.params == pytest.approx({name: config[name] for name in numbers}, rel=1e-9)
        theirs.tell(trial, value_of(config))
    kept = Study.open("s", f"{tmp_path}/journal.log")._study.get_trials(deepcopy=False)
    assert {name for trial in kept for name in trial.system_attrs if name.startswith("cma")} == {"cma:generation"}


def test_a_sampler_that_needs_a_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SAMPLERS:
        check_sampler(name)
    find_spec = importlib.util.find_spec

    def without(name: str, *arguments: Any) -> Any:
        return None if name == "cmaes" else find_spec(name, *arguments)

    monkeypatch.setattr(samplers.importlib.util, "find_spec", without)
    check_sampler("gp")
    with pytest.raises(InputError, match=r"^the sampler cmaes needs the package cmaes: pip install 'pomona\[cmaes\]'"):
        check_sampler("cmaes")
