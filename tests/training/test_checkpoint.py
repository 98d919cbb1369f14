from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from search_spaces import InputError
from training import FitResult, Numerics, fit, load_checkpoint
from training import files as files_module
from training.checkpoint import RECORD
from training.digest import DIGEST, sealed
from training.evaluate import predict_outputs
from training.files import atomic_path, atomic_write_json
from training.weights import load_backbone

from ..toys import SMALL, small_weights, toy_splits


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, FitResult]:
    folder = small_weights(tmp_path)
    splits = toy_splits(resolution=32)
    result = fit(
        SMALL,
        SMALL.recipe,
        splits,
        epochs=2,
        backbones=lambda name: load_backbone(name, weights_dir=folder),
        checkpoint_to=tmp_path / "c",
    )
    return tmp_path / "c", result


def test_a_loaded_checkpoint_answers_as_the_trained_model_did(trained: tuple[Path, FitResult]) -> None:
    path, result = trained
    checkpoint = load_checkpoint(path)
    assert load_checkpoint(path / RECORD).record == checkpoint.record
    splits = toy_splits(resolution=32)
    logits = predict_outputs(checkpoint.classifier(), splits.valid, torch.device("cpu"), Numerics())
    assert tuple(logits.argmax(1).tolist()) == result.answers
    record = checkpoint.record
    assert (record.value, record.n, record.epoch, record.epochs) == (result.value, 24, 2, 2)
    assert record.ci95 == result.estimate.ci95  # type: ignore[union-attr]
    assert len(list(path.glob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("damage", "saying"),
    [
        (lambda record: record.update(format=99), "format"),
        (lambda record: record.pop("config"), "lacks a field"),
        (lambda record: record.update(tensors="gone.safetensors"), "can't be read"),
        (lambda record: record["config"].update(head_width=8), "does not fit"),
    ],
)
def test_damage_is_said(trained: tuple[Path, FitResult], damage: object, saying: str) -> None:
    path, _ = trained
    record = json.loads((path / RECORD).read_text())
    damage(record)  # type: ignore[operator]
    (path / RECORD).write_text(json.dumps(sealed({k: v for k, v in record.items() if k != DIGEST})))
    with pytest.raises(InputError, match=saying):
        load_checkpoint(path).classifier()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "kept.json"
    atomic_write_json(target, {"kept": 1})

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert json.loads(target.read_text()) == {"kept": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


def test_a_file_is_renamed_into_place_only_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    fsync = files_module.os.fsync
    target = tmp_path / "file.json"

    def spy(handle: int) -> None:
        synced.append(target.exists())
        fsync(handle)

    monkeypatch.setattr(files_module.os, "fsync", spy)
    atomic_write_json(target, 1)
    assert synced == [False, True]  # the contents before the rename, the folder after it
