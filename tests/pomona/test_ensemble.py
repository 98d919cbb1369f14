"""From the ensemble of a study to a checkpoint, its answers and one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pomona
from pomona import ensemble_run
from search_spaces import InputError
from studies import Selection, Study, ensemble_row, open_study
from training import load_model, wilson
from training.lanes.ensemble_checkpoint import EnsembleCheckpoint

from .conftest import Run

FILE = """
from dataclasses import replace
from search_spaces import Choice
from tests.toys import SMALL
TASK = replace(SMALL, classes=(), sources=(), target=None, space=SMALL.space.replace(resolution=Choice(32, 48)))
"""


@pytest.fixture(scope="module")
def made(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Selection]:
    """A study, and an ensemble of two of its trials, of two resolutions."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.py").write_text(FILE)
    where = {"data": photos, "weights_dir": weights, "storage": folder / "j.log", "study": "s"}
    study = pomona.search(folder / "small.py", trials=4, epochs=1, seed=3, **where)
    sides: dict[object, int] = {}
    for record in study.records():
        sides.setdefault(record.config["resolution"], record.number)
    first, second = sorted(sides.values())
    return study, Selection({first: 0.75, second: 0.25}, wilson(1.0, 18))


@pytest.fixture
def study(made: tuple[Study, Selection], monkeypatch: pytest.MonkeyPatch) -> Study:
    study, selection = made
    monkeypatch.setattr(ensemble_row, "select", lambda *_: selection)
    return study


def task_of(study: Study) -> str:
    return study.settings.task_argument


def trained(study: Study, **options: object) -> EnsembleCheckpoint:
    result = pomona.train(task_of(study), from_study=study, trial="ensemble", out="best", **options)  # type: ignore[arg-type]
    model = load_model(Path("best"))
    assert isinstance(model, EnsembleCheckpoint)
    assert (result.value, result.n) == (model.record.value, model.record.n)
    return model


def test_it_is_trained_evaluated_exported_and_predicted_with_like_a_model(
    study: Study, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    listed = ("leaderboard", "s", "--storage", study.storage_url, "--format", "json", "--ensemble")
    code, out, err = run(*listed)
    assert code == 0, err
    row = next(row for row in json.loads(out) if row["state"] == "ensemble")
    assert list(row["params"].values()) == [0.75, 0.25]
    of_study = ("--from-study", "s", "--storage", study.storage_url, "--trial", "ensemble")
    code, out, err = run("train", task_of(study), *of_study, "--out", "best", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["ensemble"] == row["params"]
    assert told["seconds_per_image"] > 0
    frame = pomona.leaderboard(study, ensemble=True)
    assert list(frame["state"]).count("ensemble") == 1
    assert len(pomona.leaderboard(study)) == len(frame) - 1
    code, out, err = run("evaluate", "best", "--json", "--figures", "figures")
    assert code == 0, err
    assert json.loads(out)["value"] == told["value"]
    assert run("export", "best", "--onnx", "best.onnx")[0] == 0
    code, out, err = run("export", "best", "--onnx", "best.onnx", "--int8")
    assert (code, err.strip().count("\n")) == (1, 0)
    files = sorted(photos.rglob("valid/*/*.png"))[:5]
    by_torch, by_onnx = (json.loads(run("predict", model, *files, "--json")[1]) for model in ("best", "best.onnx"))
    # The file computes in fp32, the checkpoint as it was trained.
    tolerance = 1e-5 if load_model(Path("best")).record.numerics.precision == "fp32" else 0.02
    for one, other in zip(by_torch, by_onnx, strict=True):
        assert one["path"] == other["path"]
        assert other["probabilities"] == pytest.approx(one["probabilities"], abs=tolerance)
    code, out, err = run(*listed)
    assert next(row for row in json.loads(out) if row["state"] == "ensemble")["seconds_per_image"] > 0


def test_its_members_are_what_each_trial_alone_is_trained_to(study: Study) -> None:
    model = trained(study)
    for number, member in zip(model.trials, model.members, strict=True):
        alone = pomona.train(
            task_of(study), from_study=study, trial=number, seed=study.settings.seed, out=f"alone-{number}"
        )
        assert alone.value == member.record.value
        there = load_model(Path(f"alone-{number}"))
        assert there.record.curve[0]["loss"] == member.record.curve[0]["loss"]
        assert all((there.tensors[name] == tensor).all() for name, tensor in member.tensors.items())


def test_a_run_that_was_stopped_goes_on(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, prepared = ensemble_run.prepare_training, []

    def once(*arguments: object) -> object:
        if prepared:
            raise KeyboardInterrupt
        prepared.append(arguments)
        return prepare(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ensemble_run, "prepare_training", once)
        with pytest.raises(KeyboardInterrupt):
            trained(study)
    assert not Path("best/ensemble.json").exists()
    monkeypatch.setattr(ensemble_run, "prepare_training", lambda *a: prepared.append(a) or prepare(*a))
    trained(study)
    assert len(prepared) == 2


def test_members_of_another_run_are_refused(study: Study) -> None:
    trained(study)
    Path("best/ensemble.json").unlink()
    with pytest.raises(InputError, match="another run"):
        trained(study, seed=1)
    trained(study)
    with pytest.raises(InputError, match="holds an ensemble"):
        trained(study)


def test_without_an_ensemble_there_is_a_line(run: Run) -> None:
    pomona.search("bonus", trials=1, epochs=1, storage="j.log", study="b")
    train = ("train", "bonus", "--storage", "j.log", "--out", "x")
    for options, expected in (
        (("--from-study", "b", "--trial", "ensemble"), "has no ensemble"),
        (("--trial", "ensemble"), "name it with --from-study"),
        (("--from-study", "b", "--trial", "ensemble", "--as-saved"), "leave --as-saved out"),
    ):
        code, _, err = run(*train, *options)
        assert code == 1
        assert expected in err
        assert not Path("x").exists()
    assert run(*train, "--from-study", "b", "--trial", "best")[0] == 2
    with pytest.raises(InputError, match="trial must be"):
        pomona.train("bonus", from_study=open_study("b", "j.log"), trial="best")
