"""Going on with a study: what is not said follows the study, and what can't be is said in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import InputError
from studies import SearchRequest, Study
from studies.engines import RayEngine
from studies.going_on import enough_or_error, going_on
from studies.location import storage_option
from studies.plan import Budget
from studies.search import _engine
from studies.status import status_of
from training import State

from ..toys import TOY
from .settings import settings_for
from .small_studies import a_study, result

SETTINGS = replace(
    settings_for(TOY, epochs=7, pruner="median", seed=3, trials=4),
    lanes=2,
    timeout=90.0,
    weights_dir=Path("w"),
    fixed={"dropout": 0.1},
)


def test_what_a_request_leaves_out_follows_the_study() -> None:
    followed = SearchRequest("toy", study="s").following(SETTINGS)
    for name in ("data", "trials", "epochs", "timeout", "seed", "engine", "lanes", "device", "pruner", "fixed"):
        assert getattr(followed, name) == getattr(SETTINGS, name), name
    assert followed.weights_dir == Path("w")


def test_what_it_says_stands() -> None:
    said = {"trials": 24, "epochs": 9, "seed": 0, "lanes": 5, "device": "cuda", "pruner": "none", "fixed": {"views": 2}}
    followed = SearchRequest("toy", study="s", **said).following(SETTINGS)  # type: ignore[arg-type]
    assert {name: getattr(followed, name) for name in said} == said
    # A number of trials without a time has none, as in a new study.
    assert followed.timeout is None


INLINE: dict[str, Any] = {"engine": "inline", "workers": 1}
LOCAL: dict[str, Any] = {"engine": "local", "workers": 2}
ON_RAY: dict[str, Any] = {"engine": "ray", "workers": 4, "ray_address": "auto"}


@pytest.mark.parametrize(
    ("had", "said", "engine", "workers", "address"),
    [
        (LOCAL, {"engine": "inline"}, "inline", 1, None),
        (LOCAL, {"workers": 1}, "inline", 1, None),
        (LOCAL, {"ray_address": "auto"}, "ray", 2, "auto"),
        (LOCAL, {"engine": "ray"}, "ray", 2, None),
        (INLINE, {"workers": 2}, "local", 2, None),
        (INLINE, {"ray_address": "auto"}, "ray", 1, "auto"),
        (ON_RAY, {}, "ray", 4, "auto"),
        (ON_RAY, {"workers": 2}, "ray", 2, "auto"),
        (ON_RAY, {"ray_address": "there:6379"}, "ray", 4, "there:6379"),
        (ON_RAY, {"engine": "inline"}, "inline", 1, None),
        (ON_RAY, {"engine": "local", "workers": 2}, "local", 2, None),
    ],
)
def test_a_study_moves_to_another_engine_by_saying_so(
    had: dict[str, Any],
    said: dict[str, Any],
    engine: str,
    workers: int,
    address: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it had of the old one does not contradict what was said."""
    # Nor need Ray be installed, or anybody listen there.
    monkeypatch.setattr(RayEngine, "check", lambda _engine: None)
    followed = SearchRequest("toy", study="s", **said).following(replace(SETTINGS, **had))
    found, placement = _engine(followed, torch.device("cpu"))
    assert (found, placement.workers, placement.ray_address) == (engine, workers, address)


def ten_trials(url: str | None) -> Study:
    study = a_study(url)
    for number in range(10):
        assert study.ask(TOY.space, 10) is not None
        study.recording.finish(number, result(State.COMPLETE))
    return study


def of_a_known_task(study: Study, file: str | None = None) -> Study:
    """The same of a task that the command line knows, or of one in a file."""
    study.settings = replace(study.settings, task="bonus", task_file=file)
    return study


@pytest.mark.parametrize("storage", ["default", "other"])
def test_what_is_shown_goes_on_with_a_task_of_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POMONA_STORAGE", raising=False)
    url = None if storage == "default" else "j.log"
    study = ten_trials(url)
    in_python, trust = ("", "") if url is None else ("storage='j.log', ", " --trust-task-file")
    with pytest.raises(InputError) as of_object:
        enough_or_error(study, Budget(5, 3, None), url)
    assert str(of_object.value).endswith(f"for 5 more, pomona.resume('s', {in_python}trials=15, task=TASK)")
    with pytest.raises(InputError) as of_file:
        enough_or_error(of_a_known_task(study, "/tasks/birds.py"), Budget(5, 3, None), url)
    assert str(of_file.value).endswith(f"pomona resume s{storage_option(url)} --trials 15{trust}")


def test_fewer_trials_than_there_are_is_an_error_that_says_how_to_get_more(url: str) -> None:
    study = of_a_known_task(ten_trials(url))
    with pytest.raises(
        InputError, match=r"has 10 trials already.* for 5 more, pomona resume s --storage \S+ --trials 15"
    ):
        enough_or_error(study, Budget(5, 3, None), url)


def test_a_time_alone_is_no_number_of_trials(url: str) -> None:
    study = ten_trials(url)
    enough_or_error(study, Budget(None, 3, 60.0), url)
    study.extend(replace(study.settings, trials=None, timeout=60.0))
    told = status_of(Study.open("s", url))
    assert (told["trials"], told["budget"], told["done"]) == (None, "trials of 3 epochs for 60 s", None)
    study.extend(replace(study.settings, trials=10, timeout=60.0))
    assert status_of(Study.open("s", url))["done"] == "all of its 10 trials have ended"


def test_a_study_that_is_done_says_so_and_how_to_go_on(url: str) -> None:
    study = of_a_known_task(ten_trials(url))
    enough_or_error(study, Budget(10, 3, None), None)
    assert "done, all of its 10 trials have ended; go on with: pomona resume s --trials 20" in going_on(
        study, Budget(10, 3, None), None, None
    )
    assert "10 of 12 trials are done" in going_on(study, Budget(12, 3, None), None, None)
    assert "going on, 10 trials are done" in going_on(study, Budget(None, 3, 60.0), None, None)


def test_the_budget_and_the_commands_are_the_current_ones(url: str) -> None:
    study = a_study(url)
    study.extend(replace(study.settings, trials=12, timeout=60.0), "pomona resume s --trials 12 --timeout 1m")
    study.extend(replace(study.settings, trials=12, timeout=60.0), "pomona resume s --trials 12 --timeout 1m")
    again = Study.open("s", url)
    commands = ["pomona search toy", "pomona resume s --trials 12 --timeout 1m"]
    for seen in (study, again):
        assert (seen.settings.trials, seen.settings.timeout) == (12, 60.0)
        assert status_of(seen)["budget"] == "12 trials of 3 epochs, at most 60 s"
        assert status_of(seen)["commands"] == commands
        assert seen._study.user_attrs["budget"] == status_of(seen)["budget"]
        assert seen._study.user_attrs["commands"] == commands


@pytest.mark.parametrize(("name", "value"), [("epochs", "8"), ("epochs", 0), ("lanes", -1), ("trials", 0)])
def test_settings_changed_by_hand_are_one_line(url: str, name: str, value: object) -> None:
    study = a_study(url)
    text = replace(study.settings, **{name: value}).to_json()  # type: ignore[arg-type]
    study._study.set_user_attr("settings", text)
    with pytest.raises(InputError, match=f"settings of study 's' are damaged: {name}"):
        Study.open("s", url)


def test_what_a_later_command_says_of_limits_is_kept(url: str) -> None:
    """Hours of GPUs as such: what they are in seconds depends on the workers of each run."""
    study = a_study(url)
    limits = {"trials": None, "timeout": 90.0, "trial_timeout": 30.0, "max_gpu_hours": 8.0, "stop_at": 0.9}
    study.extend(replace(study.settings, **limits, lanes=99))  # type: ignore[arg-type]
    kept = Study.open("s", url).settings
    assert {name: getattr(kept, name) for name in limits} == limits
    assert kept.lanes != 99
    assert str(kept.budget) == "trials of 3 epochs for 90 s, at most 8 GPU hours"
    followed = SearchRequest("toy", study="s", max_gpu_hours=16.0).following(kept)
    assert (followed.timeout, followed.max_gpu_hours) == (90.0, 16.0)
