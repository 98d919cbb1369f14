from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from training import EpochResult, FitResult, Numerics, check_checkpoint_folder, fit, load_checkpoint
from training.export.evaluate import predict_outputs
from training.lanes.checkpoint import RECORD, CheckpointRecord, save_checkpoint
from training.lanes.results import curve_from_json, curve_to_json
from training.machine import files as files_module
from training.machine.digest import DIGEST, sealed
from training.machine.files import atomic_path, atomic_write_json
from training.models.weights import load_backbone

from ...toys import SMALL, small_weights, toy_splits


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


# --- whose files they are


def _record_of(path: Path) -> CheckpointRecord:
    return load_checkpoint(path).record


def test_only_the_tensors_that_the_record_named_are_removed(trained: tuple[Path, FitResult]) -> None:
    path, _ = trained
    foreign = ["epoch-best.safetensors", "epoch-0009.safetensors", "epoch-0001.safetensors.bak", "notes.txt"]
    for name in foreign:
        (path / name).write_text("mine")
    save_checkpoint(path, replace(_record_of(path), epoch=1), {"model.x": torch.zeros(2)})
    assert sorted(file.name for file in path.iterdir()) == sorted([*foreign, "epoch-0001.safetensors", RECORD])
    assert all((path / name).read_text() == "mine" for name in foreign)


@pytest.mark.parametrize("name", ["epoch-0001.safetensors", "epoch-0002.safetensors", RECORD])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_of_the_users_is_never_overwritten(tmp_path: Path, name: str, linked: bool) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    own = tmp_path / "own" if linked else folder / name
    own.write_text("mine")
    if linked:
        (folder / name).symlink_to(own)
    with pytest.raises(InputError, match="move it away, or name another folder"):
        fit(SMALL, SMALL.recipe, toy_splits(resolution=32), epochs=2, checkpoint_to=folder)
    assert own.read_text() == "mine"
    assert [file.name for file in folder.iterdir()] == [name]


def test_files_that_no_epoch_will_take_are_not_in_the_way(tmp_path: Path) -> None:
    for name in ("epoch-0003.safetensors", "epoch-0000.safetensors", "epoch-best.safetensors"):
        (tmp_path / name).write_text("mine")
    check_checkpoint_folder(tmp_path, 2)
    with pytest.raises(InputError, match=r"epoch-0003\.safetensors"):
        check_checkpoint_folder(tmp_path, 3)
    check_checkpoint_folder(tmp_path / "new", 10**9)
    with pytest.raises(InputError, match="not a folder"):
        check_checkpoint_folder(tmp_path / "epoch-0003.safetensors", 1)


def test_what_a_killed_run_left_is_overwritten(trained: tuple[Path, FitResult]) -> None:
    path, _ = trained
    checkpoint = load_checkpoint(path)
    save_checkpoint(path / "other", replace(checkpoint.record, epoch=3), checkpoint.tensors)
    (path / "other" / "epoch-0003.safetensors").rename(path / "epoch-0003.safetensors")
    check_checkpoint_folder(path, 3)
    save_checkpoint(path, replace(checkpoint.record, epoch=3), checkpoint.tensors)
    assert [file.name for file in path.glob("*.safetensors")] == ["epoch-0003.safetensors"]


# --- what is damaged


@given(st.data())
def test_a_flipped_bit_is_an_error_or_changes_nothing(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        path = Path(name)
        save_checkpoint(path, RECORD_OF_TWO_WEIGHTS, {"model.weights": torch.tensor([[0.5, 2.0]])})
        file = path / data.draw(st.sampled_from([RECORD, "epoch-0002.safetensors"]))
        content = bytearray(file.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
        try:
            checkpoint = load_checkpoint(path)
        except InputError:
            return
        assert file.name == RECORD  # white space, say
        assert checkpoint.record == RECORD_OF_TWO_WEIGHTS
        assert checkpoint.tensors["model.weights"].tolist() == [[0.5, 2.0]]


RECORD_OF_TWO_WEIGHTS = CheckpointRecord(
    task="t",
    config={"learning_rate": 0.123, "optimizer": "sgd"},
    classes=("a", "b"),
    resolution=8,
    seed=1,
    epoch=2,
    epochs=3,
    curve=[asdict(EpochResult(1, 3, 0.5, 0.6, 0.7, 1.0, 10, 0))],
    numerics=Numerics(),
    weights="w",
    fingerprint="f",
    source="s",
    data="d",
    environment={},
    value=0.7,
    ci95=(0.6, 0.8),
)


def test_a_number_that_json_cannot_hold_is_nan_again(tmp_path: Path) -> None:
    curve = curve_to_json((EpochResult(1, 3, 0.5, math.nan, math.inf, 1.0, 10, 0),))
    record = replace(RECORD_OF_TWO_WEIGHTS, curve=curve, ci95=(math.nan, 0.5))
    save_checkpoint(tmp_path, record, {"model.x": torch.zeros(1)})
    loaded = load_checkpoint(tmp_path).record
    assert "NaN" not in (tmp_path / RECORD).read_text()
    (epoch,) = curve_from_json(loaded.curve)
    assert math.isnan(epoch.valid_loss)
    assert math.isnan(epoch.value)
    assert epoch.loss == 0.5
    assert loaded.ci95 is not None
    assert math.isnan(loaded.ci95[0])


def test_a_checkpoint_without_digests_is_still_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, RECORD_OF_TWO_WEIGHTS, {"model.x": torch.zeros(1)})
    record = json.loads((tmp_path / RECORD).read_text())
    earlier = {k: v for k, v in record.items() if k not in (DIGEST, "tensors_digest")} | {"format": 1}
    (tmp_path / RECORD).write_text(json.dumps(earlier))
    assert load_checkpoint(tmp_path).record == RECORD_OF_TWO_WEIGHTS
    # One of this version without its digest is not one of that version.
    (tmp_path / RECORD).write_text(json.dumps(earlier | {"format": 2}))
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path)
    (tmp_path / RECORD).write_text(json.dumps(record | {"format": 1}))
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path)
