from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pomona import onnx_predict
from search_spaces import InputError
from training import Checkpoint, Numerics, Split, Splits, fit, load_checkpoint, spec_of
from training.data import Kind
from training.data.batches import as_input, to_floats
from training.export import export_int8
from training.export import onnx as export_module
from training.export.evaluate import predict, predict_outputs
from training.export.export_int8 import Quantised, quantise
from training.export.onnx import (
    OPSET,
    Deployed,
    Export,
    Signature,
    export_onnx,
    model_input,
    open_session,
    sample_of,
    write_graph,
)
from training.machine import vision
from training.models.backbones import BACKBONES, Backbone, assemble, build, decompose, needs_weights, source_model
from training.models.backbones.backbone import RANDOM
from training.models.classifier import Classifier, Head
from training.models.weights import load_backbone

from ...contracts.backbone import measure_statistics
from ...toys import CLASSES, SMALL, small_weights, toy_splits

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE = 32
SPLITS = toy_splits(resolution=SIDE)
needs_timm = pytest.mark.skipif(not vision.has_timm(), reason="timm is not installed")


def trained(folder: Path, splits: Splits) -> Checkpoint:
    """The recipe, trained on `splits` in two epochs."""
    small_weights(folder)
    fit(
        SMALL,
        SMALL.recipe,
        splits,
        epochs=2,
        backbones=lambda name: load_backbone(name, weights_dir=folder),
        checkpoint_to=folder / "c",
    )
    return load_checkpoint(folder / "c")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return trained(tmp_path_factory.mktemp("trained"), SPLITS)


@pytest.fixture(scope="module")
def exported(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_onnx(checkpoint, tmp_path_factory.mktemp("exported") / "small.onnx", SPLITS.valid)


@pytest.fixture(scope="module")
def quantised(exported: Export) -> Quantised:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_int8, "_TIMED_SECONDS", 0)
        return quantise(exported, SPLITS.train)


def metadata_in(file: Path) -> dict[str, Any]:
    told = open_session(file).get_modelmeta().custom_metadata_map
    text = ("task", "modality", "metric", "precision", "version", "source", "fingerprint")
    entries = {key.removeprefix("pomona."): value for key, value in told.items() if key.startswith("pomona.")}
    return {key: value if key in text else json.loads(value) for key, value in entries.items()}


def test_the_file_answers_as_the_checkpoint_does(checkpoint: Checkpoint, exported: Export) -> None:
    logits = predict_outputs(checkpoint.classifier(), SPLITS.valid, torch.device("cpu"), Numerics())
    assert exported.correct == tuple((logits.argmax(1) == SPLITS.valid.labels).tolist())
    assert exported.score.value == checkpoint.record.value
    told = exported.to_json()
    assert (told["metric"], told["accuracy"], told["images"]) == ("accuracy", exported.score.value, 24)
    assert told["n"] == 24
    assert "columns" not in told
    assert 0 <= exported.max_difference <= exported.tolerance
    assert (len(exported.seen), exported.classes, exported.resolution) == (24, CLASSES, SIDE)
    assert exported.bytes == exported.file.stat().st_size


@settings(max_examples=10)
@given(batch=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_any_photos_in_batches_of_any_size(checkpoint: Checkpoint, exported: Export, batch: int, seed: int) -> None:
    images = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8))
    with torch.no_grad():
        expected = Deployed(checkpoint.classifier())(images).numpy()
    (found,) = open_session(exported.file).run(["logits"], {"images": images.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_floats_are_refused(exported: Export) -> None:
    images = np.zeros((1, SIDE, SIDE, 3), dtype=np.float32)
    with pytest.raises(Exception, match="uint8"):
        open_session(exported.file).run(None, {"images": images})


def test_the_file_says_what_a_client_must_know(checkpoint: Checkpoint, exported: Export) -> None:
    told = metadata_in(exported.file)
    record = checkpoint.record
    assert told["classes"] == list(record.classes)
    assert told["resolution"] == SIDE
    assert told["mean"] == [0.485, 0.456, 0.406]
    assert told["std"] == [0.229, 0.224, 0.225]
    assert (told["task"], told["fingerprint"], told["source"]) == (SMALL.name, record.fingerprint, record.source)
    assert (told["value"], told["n"], tuple(told["ci95"])) == (record.value, record.n, record.ci95)
    assert told["config"] == record.config
    assert (told["modality"], told["metric"], told["columns"]) == ("image", "accuracy", [])
    assert told["precision"] == "fp32"
    assert told["version"]


def test_one_checkpoint_gives_one_file(checkpoint: Checkpoint, exported: Export, tmp_path: Path) -> None:
    again = export_onnx(checkpoint, tmp_path / "again.onnx", SPLITS.valid)
    assert again.file.read_bytes() == exported.file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]


@pytest.mark.parametrize("before", [None, b"what stood there"])
@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_a_file_that_answers_differently_is_not_written(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes | None, wrong: float
) -> None:
    file = tmp_path / "model.onnx"
    if before is not None:
        file.write_bytes(before)

    def otherwise(*arguments: Any) -> torch.Tensor:
        return predict_outputs(*arguments) + wrong

    monkeypatch.setattr(export_module, "predict_outputs", otherwise)
    with pytest.raises(InputError, match="is not written"):
        export_onnx(checkpoint, file, SPLITS.valid)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({file.name: before} if before else {})


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_what_is_missing_is_named(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"needs {library}: pip install 'pomona\[onnx\]'"):
        export_onnx(checkpoint, tmp_path / "model.onnx", SPLITS.valid)
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_its_suffix_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"named model\.onnx"):
        export_onnx(checkpoint, tmp_path / "model.pt", SPLITS.valid)


def test_an_operation_that_onnx_lacks_is_named(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: Deployed, images: torch.Tensor) -> torch.Tensor:
        return images.flatten().bincount()

    monkeypatch.setattr(Deployed, "forward", forward)
    with pytest.raises(InputError, match=r"squeezenet1_1 can't be exported to ONNX: .*bincount"):
        export_onnx(checkpoint, tmp_path / "model.onnx", SPLITS.valid)
    assert list(tmp_path.iterdir()) == []


def test_int8_stands_beside_it(exported: Export, quantised: Quantised) -> None:
    assert quantised.file == exported.file.with_name("small.int8.onnx")
    assert quantised.bytes == quantised.file.stat().st_size < exported.bytes / 2
    assert quantised.calibration_images == len(SPLITS.train)
    n = len(exported.seen)
    assert round(n * quantised.accuracy.value) == sum(exported.correct) - quantised.lost + quantised.gained
    assert set(quantised.latency) == {"fp32", "int8"}
    for taken in quantised.latency.values():
        assert set(taken) == {1, 32}
        assert all(0 < latency.low <= latency.median <= latency.high for latency in taken.values())
    assert metadata_in(quantised.file) == metadata_in(exported.file) | {"precision": "int8"}
    json.dumps(quantised.to_json())


def test_int8_is_near_fp32(exported: Export, quantised: Quantised) -> None:
    images = exported.seen.take(torch.arange(len(exported.seen)))[0].numpy()
    full, eight = (open_session(file).run(None, {"images": images})[0] for file in (exported.file, quantised.file))
    assert 0 < np.abs(full - eight).max() < 0.25 * np.abs(full).max()


@pytest.mark.parametrize(("side", "channels"), [(SIDE, 3), (28, 1), (28, 3), (SIDE, 1)])
def test_stored_images_of_any_kind_become_photos(side: int, channels: int) -> None:
    pool = torch.randint(0, 256, (9, side, side, channels), dtype=torch.uint8)
    rows = torch.tensor([8, 1, 4, 6])
    split = Split(pool, rows, torch.tensor([0, 1, 2, 3]), (), ("a", "b", "c", "d"))
    photos = sample_of(split, Kind(), SIDE, most=4)
    assert photos.inputs.shape == (4, SIDE, SIDE, 3)
    assert photos.inputs.dtype == torch.uint8
    assert photos.labels.tolist() == [0, 1, 2, 3]
    if side == SIDE:
        assert torch.equal(photos.inputs, pool[rows].expand(-1, -1, -1, 3))


def test_a_sample_is_always_the_same_and_keeps_what_belongs_together() -> None:
    sample = sample_of(SPLITS.train, Kind(), SIDE, most=10)
    assert sample.names == sample_of(SPLITS.train, Kind(), SIDE, most=10).names
    assert len(set(sample.names)) == 10
    for index, name in enumerate(sample.names):
        place = SPLITS.train.names.index(name)
        expected = SPLITS.train.take(torch.tensor([place]))
        assert all(torch.equal(*pair) for pair in zip(sample.take(torch.tensor([index])), expected, strict=True))


QUICK = ("mobilenet_v3_small", "squeezenet1_1")
SLOW_TIMM = ("tf_efficientnet_lite0", "resnet18", "convnext_atto", "test_vit2", "mambaout_femto")
FAMILIES = [
    "pixels:1x28x28",
    "cnn:1x28x28",
    "cnn:3x32x32",
    *(name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES),
    *(pytest.param(f"timm:{name}", marks=[needs_timm, pytest.mark.slow]) for name in SLOW_TIMM),
]


def untrained(name: str) -> tuple[Backbone, int]:
    """A backbone with statistics as of a trained one, and a resolution that it takes."""
    torch.manual_seed(0)
    if not needs_weights(name):
        return build(name), int(name.rpartition("x")[2])
    source = source_model(name)
    # A ViT at another resolution than its own resizes its positions in a way that ONNX has only since opset 18.
    side = source.patch_embed.img_size[0] if name == "timm:test_vit2" else 64
    measure_statistics(source, torch.randn(2, 3, side, side))
    return assemble(name, decompose(name, source), RANDOM), side


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_exported(name: str, tmp_path: Path) -> None:
    backbone, side = untrained(name)
    spec = spec_of({"backbone": name, "resolution": side, "head_width": 8, "dropout": 0.5, "learning_rate": 0.1})
    model = Classifier(backbone, spec, Head(backbone.widths[-1], 4, spec.head)).eval()
    write_graph(model, Signature.of(Kind(), model_input(model)), tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    assert [entry.shape for entry in session.get_inputs()] == [["batch", side, side, 3]]
    assert [entry.shape for entry in session.get_outputs()] == [["batch", 4]]
    images = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8)
    (found,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        expected = Deployed(model)(images).numpy()
        floats = as_input(to_floats(images, images.device), side, model.channels)
        model.double()
        features = model.pool(model.prefix(model.normalise(floats.double()), len(model.stages)))
        exact = model.head(features).numpy()
    # Random weights can make a model that multiplies rounding: as near as torch itself to what is right, or so.
    rounding = np.abs(expected - exact).max()
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5 * max(1, np.abs(exact).max()) + 5 * rounding)


def test_the_opset_is_as_told(exported: Export) -> None:
    import onnx

    opsets = {entry.domain: entry.version for entry in onnx.load(str(exported.file)).opset_import}
    assert opsets == {"": OPSET}
    assert exported.opset == OPSET


def test_what_was_enlarged_in_training_is_enlarged_alike_wherever_it_comes_from(tmp_path: Path) -> None:
    """Trained on pictures of 16 pixels that the model enlarges to 32: a file of such a picture is the same example."""
    splits = toy_splits(resolution=SIDE // 2)
    checkpoint = trained(tmp_path, splits)
    assert (checkpoint.record.resolution, checkpoint.resolutions) == (SIDE, (SIDE // 2,))
    logits = predict_outputs(checkpoint.classifier(), splits.valid, torch.device("cpu"), checkpoint.record.numerics)
    files = []
    for place, pixels in enumerate(splits.valid.inputs[splits.valid.rows]):
        files.append(tmp_path / f"{place}.png")
        Image.fromarray(pixels.numpy()).save(files[-1])
    wanted = logits.softmax(1)
    answers = predict(checkpoint, files, torch.device("cpu"))
    found = torch.tensor([[answer.probabilities[name] for name in CLASSES] for answer in answers])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    exported = export_onnx(checkpoint, tmp_path / "small.onnx", splits.valid)
    assert exported.resolution == SIDE // 2
    told = onnx_predict.load(exported.file).predict(files)
    found = torch.tensor([[answer["probabilities"][name] for name in CLASSES] for answer in told])
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
