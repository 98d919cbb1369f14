"""A modality that is registered from outside goes the whole way: searched, trained, scored, shown, exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pomona import onnx_predict
from search_spaces import InputError
from training.data import modalities, modality_named

from ..sounds import SOUNDS, write_sounds
from .conftest import Run

TASK_FILE = """\
from tests.sounds import SOUNDS as TASK
from tests.sounds import Sounds
from training.data import register

register("sound", Sounds())
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task file that brings its modality along, beside a folder of clips."""
    monkeypatch.setattr(modalities, "TABLE", [*modalities.TABLE])
    write_sounds(tmp_path / "clips")
    (tmp_path / "sounds.py").write_text(TASK_FILE)
    with pytest.raises(InputError, match="unknown modality"):
        modality_named(SOUNDS.modality)
    return tmp_path


def answer(run: Run, *arguments: object) -> dict[str, object] | list[dict[str, object]]:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    told: dict[str, object] | list[dict[str, object]] = json.loads(out)
    return told


@pytest.mark.usefixtures("own")
def test_from_a_search_to_predictions(run: Run) -> None:
    assert "needs --data DIR: a folder of .npy files" in run("search", "sounds.py")[2]
    storage = ["--storage", "journal.log"]
    told = answer(run, "search", "sounds.py", "--data", "clips", "--trials", 3, "--epochs", 3, *storage)
    assert isinstance(told, dict)
    assert (told["task"], told["ended"]) == ("sounds", 3)
    trained = answer(run, "train", "sounds.py", "--data", "clips", "--recipe", "--epochs", 5, "--out", "c")
    scored = answer(run, "evaluate", "c")
    assert isinstance(trained, dict)
    assert isinstance(scored, dict)
    assert scored["value"] == trained["value"] == 1
    # Of a folder without splits, what was not trained on.
    elsewhere = answer(run, "evaluate", "c", "--data", "clips")
    assert isinstance(elsewhere, dict)
    assert (elsewhere["n"], elsewhere["n_trained_on"]) == (scored["n"], 0)
    asked = ["clips/high/0.npy", "clips/low/3.npy"]
    told = answer(run, "predict", "c", *asked)
    assert isinstance(told, list)
    assert [(one["path"], one["label"]) for one in told] == [("0.npy", "high"), ("3.npy", "low")]
    assert "clips/nowhere.npy is no sound" in run("predict", "c", "clips/nowhere.npy")[2]


@pytest.mark.usefixtures("own")
def test_what_people_see_of_it(run: Run, tmp_path: Path) -> None:
    shown = answer(run, "data", "show", "sounds.py", "--data", "clips", "--out", "look.png")
    assert isinstance(shown, dict)
    assert shown["classes"] == ["high", "low"]
    assert "resolution" not in shown
    assert (tmp_path / "look.png").stat().st_size > 1000
    assert "at most 128" in run("data", "show", "sounds.py", "--data", "clips", "--count", 129)[2]
    assert "leave out --resolution" in run("data", "show", "sounds.py", "--data", "clips", "--resolution", 32)[2]
    answer(run, "train", "sounds.py", "--data", "clips", "--recipe", "--epochs", 1, "--out", "c")
    told = answer(run, "evaluate", "c", "--figures", "figures")
    assert isinstance(told, dict)
    assert all(Path(str(file)).is_file() for file in told["figures"])  # type: ignore[attr-defined]


@pytest.mark.usefixtures("own")
def test_an_exported_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    answer(run, "train", "sounds.py", "--data", "clips", "--recipe", "--epochs", 5, "--out", "c")
    code, out, err = run("export", "c", "--onnx", "sounds.onnx")
    assert code == 0, err
    assert "2 classes, sounds of shape 16" in out
    assert "8 bits are for models of images" in run("export", "c", "--onnx", "sounds.onnx", "--int8")[2]
    asked = ["clips/high/0.npy", "clips/low/3.npy"]
    one, other = answer(run, "predict", "c", *asked), answer(run, "predict", "sounds.onnx", *asked)
    assert isinstance(one, list)
    assert isinstance(other, list)
    for ours, exported in zip(one, other, strict=True):
        assert (exported["path"], exported["label"]) == (ours["path"], ours["label"])
        assert exported["probability"] == pytest.approx(ours["probability"], abs=1e-5)

    # A deployment reads other files once it has a reader for them.
    with pytest.raises(onnx_predict.PredictionError, match=r"modality 'sound'.* add a reader"):
        onnx_predict.predict("sounds.onnx", asked)

    def read(model: onnx_predict.Model, files: object) -> onnx_predict.Batches:
        assert files == asked
        yield ["a", "b"], np.stack([np.load(file) for file in asked])

    monkeypatch.setitem(onnx_predict.READERS, "sound", onnx_predict.Reader(read))
    deployed = onnx_predict.predict("sounds.onnx", asked)
    assert [(told["path"], told["label"]) for told in deployed] == [("a", "high"), ("b", "low")]
    assert onnx_predict.profile("sounds.onnx", asked)["answer_seconds"] > 0
