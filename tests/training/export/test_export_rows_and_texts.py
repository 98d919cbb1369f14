"""Models of tables and of texts as ONNX files: they answer as torch does, and take what a client holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import InputError
from training import Checkpoint, Numerics
from training.data import Split, open_again
from training.data.texts import BYTES, encode_texts
from training.export import onnx as export_module
from training.export.evaluate import predict_outputs
from training.export.export_int8 import quantise
from training.export.onnx import Export, export_onnx, open_session

from ...trained import ENCODER, bonus_checkpoint, instants_checkpoint, level_checkpoint, texts_checkpoint

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Pair = tuple[Checkpoint, Export]


def valid_of(checkpoint: Checkpoint) -> Split:
    record = checkpoint.record
    return open_again(record.data, record.classes, record.kind).at(0).valid


def exported(checkpoint: Checkpoint) -> Pair:
    return checkpoint, export_onnx(checkpoint, checkpoint.folder.with_suffix(".onnx"), valid_of(checkpoint))


@pytest.fixture(scope="module")
def bonus(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return exported(bonus_checkpoint(tmp_path_factory.mktemp("bonus") / "c"))


@pytest.fixture(scope="module")
def instants(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return exported(instants_checkpoint(tmp_path_factory.mktemp("instants") / "c"))


@pytest.fixture(scope="module")
def level(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return exported(level_checkpoint(tmp_path_factory.mktemp("level") / "c"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return exported(texts_checkpoint(tmp_path_factory.mktemp("bag") / "c"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return exported(texts_checkpoint(tmp_path_factory.mktemp("encoder") / "c", ENCODER))


def both(pair: Pair, inputs: torch.Tensor) -> tuple[Any, Any]:
    checkpoint, export = pair
    n = len(inputs)
    split = Split(inputs, torch.arange(n), torch.zeros(n, dtype=torch.int64), (), ("",) * n)
    expected = predict_outputs(checkpoint.classifier(), split, torch.device("cpu"), Numerics()).numpy()
    session = open_session(export.file)
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    return found, expected


@pytest.mark.parametrize("name", ["bonus", "instants", "level", "bag", "encoder"])
def test_the_file_answers_as_the_checkpoint_does(name: str, request: pytest.FixtureRequest) -> None:
    checkpoint, export = request.getfixturevalue(name)
    record = checkpoint.record
    assert 0 <= export.max_difference <= export.tolerance
    assert export.kind == record.kind
    assert export.score.value == pytest.approx(record.value, abs=1e-6)
    assert export.score.ci95 == pytest.approx(record.ci95, abs=1e-6)
    assert len(export.seen) == export.score.n == record.n
    told = export.to_json()
    assert (told["metric"], told["modality"]) == (record.metric, record.modality)
    assert told["value"] == export.score.value
    assert ("accuracy" in told) == bool(record.classes)
    assert not {"images", "resolution"} & set(told)
    assert told.get("columns", []) == list(record.columns)
    json.dumps(told)


finite = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=20)
@given(rows=st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=9))
def test_rows_in_batches_of_any_size(bonus: Pair, rows: list[tuple[float, ...]]) -> None:
    found, expected = both(bonus, torch.tensor(rows, dtype=torch.float32))
    assert found.shape == (len(rows), 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(rows).max()) * 100)


@settings(max_examples=8)
@given(texts=st.lists(st.one_of(st.text(), st.text("aZ9 ü£.", min_size=300, max_size=400)), min_size=1, max_size=5))
@pytest.mark.parametrize("name", ["bag", "encoder"])
def test_texts_in_batches_of_any_size(name: str, request: pytest.FixtureRequest, texts: list[str]) -> None:
    found, expected = both(request.getfixturevalue(name), encode_texts(texts))
    assert found.shape == (len(texts), 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bag", "encoder"])
@pytest.mark.parametrize("texts", [("",), ("", "free prize", ""), ("...",), ("x" * 999, "a")])
def test_empty_and_endless_texts(name: str, texts: Sequence[str], request: pytest.FixtureRequest) -> None:
    found, expected = both(request.getfixturevalue(name), encode_texts(texts))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "kind", "output"),
    [
        ("bonus", ["batch", 3], "tensor(float)", ("values", ["batch", 1])),
        ("level", ["batch", 2], "tensor(float)", ("logits", ["batch", 2])),
        ("bag", ["batch", BYTES], "tensor(uint8)", ("logits", ["batch", 2])),
        ("encoder", ["batch", BYTES], "tensor(uint8)", ("logits", ["batch", 2])),
    ],
)
def test_what_goes_in_and_out(
    name: str, shape: list[object], kind: str, output: tuple[str, list[object]], request: pytest.FixtureRequest
) -> None:
    checkpoint, export = request.getfixturevalue(name)
    session = open_session(export.file)
    (asked,), (answered,) = session.get_inputs(), session.get_outputs()
    names = {"tabular": "table", "text": "texts"}
    assert (asked.name, asked.shape, asked.type) == (names[checkpoint.record.modality], shape, kind)
    assert (answered.name, answered.shape) == output
    wrong = np.zeros((1, int(str(shape[1]))), dtype=np.float64)
    with pytest.raises(Exception, match="data type"):
        session.run(None, {asked.name: wrong})


def test_columns_of_many_digits_go_in_with_64_bits(instants: Pair) -> None:
    checkpoint, export = instants
    (asked,) = open_session(export.file).get_inputs()
    assert (asked.name, asked.type) == ("table", "tensor(double)")
    assert checkpoint.record.offset == pytest.approx(1e9, rel=1e-5)
    # What was allowed to differ is of what the target varies by, not of where it lies.
    assert export.tolerance < 1
    rows = torch.tensor([[1_700_000_000 + second, 4.0, 2.0] for second in range(600)], dtype=torch.float64)
    found, expected = both(instants, rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2)
    assert (np.diff(found[:, 0]) > 1).all()


@pytest.mark.parametrize("name", ["bonus", "level", "bag"])
def test_the_file_says_what_a_client_must_know(name: str, request: pytest.FixtureRequest) -> None:
    checkpoint, export = request.getfixturevalue(name)
    record = checkpoint.record
    told = open_session(export.file).get_modelmeta().custom_metadata_map
    assert told["pomona.modality"] == record.modality
    assert told["pomona.metric"] == record.metric
    assert json.loads(told["pomona.columns"]) == list(record.columns)
    assert json.loads(told["pomona.classes"]) == list(record.classes)
    assert not {"pomona.mean", "pomona.std", "pomona.photo", "pomona.resolution"} & set(told)
    if record.modality == "text":
        text = json.loads(told["pomona.text"])
        assert text["bytes"] == BYTES
        assert "UTF-8" in text["encoding"]
    else:
        assert "pomona.text" not in told


@pytest.mark.parametrize("wrong", [0.1, float("nan")])
def test_a_file_that_answers_differently_is_not_written(
    bonus: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    monkeypatch.setattr(export_module, "predict_outputs", lambda *them: predict_outputs(*them) + wrong)
    with pytest.raises(InputError, match="is not written"):
        export_onnx(bonus[0], tmp_path / "model.onnx", valid_of(bonus[0]))
    assert list(tmp_path.iterdir()) == []


def test_a_number_may_be_small(bonus: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {
        name: 1e-6 * tensor if name.startswith("model.head.") else tensor for name, tensor in bonus[0].tensors.items()
    }
    small = replace(bonus[0], tensors=tensors)
    export_onnx(small, tmp_path / "model.onnx", valid_of(small))
    monkeypatch.setattr(export_module, "predict_outputs", lambda *them: predict_outputs(*them) + 1e-6)
    with pytest.raises(InputError, match="is not written"):
        export_onnx(small, tmp_path / "other.onnx", valid_of(small))


@pytest.mark.parametrize("name", ["bonus", "bag"])
def test_only_images_go_into_8_bits(name: str, request: pytest.FixtureRequest) -> None:
    _, export = request.getfixturevalue(name)
    before = sorted(export.file.parent.iterdir())
    with pytest.raises(InputError, match="8 bits are for models of images"):
        quantise(export, export.seen)
    assert sorted(export.file.parent.iterdir()) == before
