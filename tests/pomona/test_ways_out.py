"""What an error says to do can be done: no command is told of an option that it has not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import InputError, task_named
from studies import Study, confirmation
from studies.joining import WorkerRequest
from studies.request import ResumeRequest, SearchRequest, declared
from studies.ways_out import only_options, options_in, options_of
from training import environment, open_data

from ..studies.settings import settings_for
from ..studies.small_studies import result
from .conftest import Run
from .every_command import commands
from .photos import tiny_photos

# Of every command, and never advised.
OF_ALL = {"--help", "--json", "--quiet", "--verbose"}


def options_of_command(command: str) -> set[str]:
    """By their long names."""
    return {name for one in commands()[command].params for name in one.opts if name.startswith("--")}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("search", {option.flag for option in declared(SearchRequest).values()}),
        ("resume", options_of(ResumeRequest)),
        ("worker", options_of(WorkerRequest)),
        ("confirm", set(confirmation.OPTIONS)),
    ],
)
def test_what_is_taken_for_a_command_s_options_is_all_that_it_has(command: str, options: set[str]) -> None:
    assert options == options_of_command(command) - OF_ALL


def test_a_way_out_without_its_option_gives_place_to_another() -> None:
    ways = ("repair it", "leave it out with --skip", "use --device cpu")
    with pytest.raises(InputError, match=r"^broken: repair it, leave it out with --skip, or use --device cpu$"):
        raise InputError("broken", *ways)
    for has, instead, said in (
        (("--device", "--skip"), "begin anew", "repair it, leave it out with --skip, or use --device cpu"),
        (("--device",), "begin anew", "repair it, use --device cpu, or begin anew"),
        ((), "begin anew", "repair it, or begin anew"),
        ((), "", "repair it"),
    ):
        with pytest.raises(InputError, match=f"^broken: {said}$"), only_options(has, instead):
            raise InputError("broken", *ways)


# --- what may be wrong when a study is gone on with


def unreadable(_patch: pytest.MonkeyPatch) -> dict[str, Any]:
    next(Path("photos").glob("train/*/*.png")).write_text("no picture")
    return {}


def no_weights(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setattr("training.models.weights.find_weights", lambda *_arguments, **_options: None)
    return {"backbones": ("resnet18",)}


def no_package(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    find_spec = importlib.util.find_spec
    patch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "cmaes" else find_spec(name, *more))
    return {"sampler": "cmaes"}


# What is wrong, by what the error says of it: what a study's settings are then, of photos where it is of those.
OF_TABLES: dict[str, Callable[[pytest.MonkeyPatch], dict[str, Any]]] = {
    "another data": lambda _patch: {"fingerprint": "other"},
    "another search space": lambda _patch: {"space": "other"},
    "gone.csv is not there": lambda _patch: {"data": "gone.csv"},
    "no CUDA device": lambda _patch: {"device": "cuda"},
    "hours of GPUs need a GPU": lambda _patch: {"max_gpu_hours": 2.0},
    "no Ray cluster": lambda _patch: {"engine": "ray", "ray_address": "127.0.0.1:1"},
    "needs the package cmaes": no_package,
}
OF_PHOTOS: dict[str, Callable[[pytest.MonkeyPatch], dict[str, Any]]] = {
    "can't be read as photos": unreadable,
    "nowhere": lambda _patch: {"data": "nowhere"},
    "no weights for resnet18": no_weights,
}
# What only `resume` is told: others go on without GPU hours, or meet the cluster when they run.
OF_RESUME = ("hours of GPUs need a GPU", "no Ray cluster")


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (command, wrong)
        for command in ("resume", "confirm", "worker")
        for wrong in (*OF_TABLES, *OF_PHOTOS)
        if command == "resume" or wrong not in OF_RESUME
    ],
)
def test_a_study_that_can_t_go_on_is_told_what_its_command_has(
    run: Run, monkeypatch: pytest.MonkeyPatch, weights: Path, command: str, wrong: str
) -> None:
    if wrong == "no Ray cluster":
        pytest.importorskip("ray")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    task = task_named("fruit" if wrong in OF_PHOTOS else "bonus")
    data = open_data(str(tiny_photos(Path("photos"))) if wrong in OF_PHOTOS else None, task)
    known = replace(
        settings_for(task),
        data=data.location,
        fingerprint=data.fingerprint,
        weights_dir=weights,
        backbones=("squeezenet1_1",) if wrong in OF_PHOTOS else (),
        environment=environment(torch.device("cpu")),
    )
    settings = replace(known, **(OF_TABLES | OF_PHOTOS)[wrong](monkeypatch))
    study = Study.create("s", "studies.db", settings, task.recipe)
    next(study.proposals(task.space, 1))
    study.recording.finish(0, result())
    # A worker has a device of its own.
    device = ("--device", "cuda") if (command, wrong) == ("worker", "no CUDA device") else ()
    code, out, err = run(command, "s", "--storage", "studies.db", *device)
    assert (code, out) == (1, ""), err
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert wrong in error
    assert options_in(error) <= options_of_command(command), error


@pytest.mark.parametrize("command", ["search fruit", "train fruit --recipe", "data show"])
def test_unreadable_photos_are_left_out_by_an_option_that_is_there(
    run: Run, weights: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    tiny_photos(Path("photos"))
    unreadable(monkeypatch)
    where = ["photos"] if command == "data show" else ["--data", "photos", "--weights-dir", weights]
    code, _, err = run(*command.split(), *where)
    assert code == 1
    assert "--skip-unreadable" in options_in(err)
    name = command if command == "data show" else command.split()[0]
    assert options_in(err.splitlines()[-1]) <= options_of_command(name)
