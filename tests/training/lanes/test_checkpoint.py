from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from training import EpochResult, FitResult, Numerics, check_checkpoint_folder, fit, has_checkpoint, load_checkpoint
from training.export.evaluate import predict_outputs
from training.lanes import state_file
from training.lanes.checkpoint import RECORD, STATE, CheckpointRecord, save_checkpoint
from training.lanes.results import curve_from_json, curve_to_json
from training.lanes.state_file import read_state, write_state
from training.machine import files as files_module
from training.machine.digest import DIGEST, bytes_digest, sealed
from training.machine.files import atomic_path, atomic_write_json, json_text
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
    assert tuple(logits.argmax(1).tolist()) == result.predictions
    record = checkpoint.record
    assert (record.value, record.n, record.epoch, record.epochs) == (result.value, 24, 2, 2)
    assert record.ci95 == result.estimate.ci95  # type: ignore[union-attr]
    assert len(list(path.glob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("damage", "saying"),
    [
        (lambda record: record.pop("config"), "another version of pomona .*config is missing"),
        (lambda record: record.update(epochs="three"), "epochs is 'three', not int"),
        (lambda record: record["numerics"].update(channels_last=1), "numerics.channels_last is 1, not bool"),
        (lambda record: record["curve"][0].update(loss="low"), r"curve\[0\].loss is 'low', not float"),
        (lambda record: record.update(ci95=[0.5]), r"ci95 is \[0.5\], not array of length 2"),
        (lambda record: record["config"].update(head_width=8), "does not fit"),
    ],
)
def test_what_does_not_fit_is_named(trained: tuple[Path, FitResult], damage: object, saying: str) -> None:
    path, _ = trained
    record, tensors = read_state(path / STATE, "checkpoint")
    damage(record)  # type: ignore[operator]
    write_state(path / STATE, "checkpoint", record, tensors)
    with pytest.raises(InputError, match=saying):
        load_checkpoint(path).classifier()


def test_a_checkpoint_of_a_later_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(state_file, "FORMAT", 99)
        save_checkpoint(tmp_path, RECORD_OF_TWO_WEIGHTS, TWO_WEIGHTS)
    with pytest.raises(InputError, match="format 99"):
        load_checkpoint(tmp_path)


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


def test_what_else_is_in_the_folder_stays(trained: tuple[Path, FitResult]) -> None:
    path, _ = trained
    foreign = ["epoch-best.safetensors", "epoch-0009.safetensors", "checkpoint.safetensors.bak", "notes.txt"]
    for name in foreign:
        (path / name).write_text("mine")
    save_checkpoint(path, replace(_record_of(path), epoch=1), {"model.x": torch.zeros(2)})
    assert sorted(file.name for file in path.iterdir()) == sorted([*foreign, STATE, RECORD])
    assert all((path / name).read_text() == "mine" for name in foreign)


@pytest.mark.parametrize("name", [STATE, RECORD])
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


def test_a_link_to_a_checkpoint_is_not_ours_to_overwrite(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", RECORD_OF_TWO_WEIGHTS, TWO_WEIGHTS)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / STATE).symlink_to(tmp_path / "c" / STATE)
    with pytest.raises(InputError, match="move it away"):
        check_checkpoint_folder(tmp_path / "linked")
    assert load_checkpoint(tmp_path / "linked").record == RECORD_OF_TWO_WEIGHTS


def test_a_folder_that_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "epoch-0003.safetensors").write_text("mine")
    check_checkpoint_folder(tmp_path)
    check_checkpoint_folder(tmp_path / "new")
    with pytest.raises(InputError, match="not a folder"):
        check_checkpoint_folder(tmp_path / "epoch-0003.safetensors")


@pytest.mark.parametrize("record", ["of the epoch before", "absent"])
def test_a_run_that_was_killed_before_the_record_was_written_goes_on(tmp_path: Path, record: str) -> None:
    save_checkpoint(tmp_path, replace(RECORD_OF_TWO_WEIGHTS, epoch=1), {"model.weights": torch.zeros(1, 2)})
    before = (tmp_path / RECORD).read_bytes()
    save_checkpoint(tmp_path, RECORD_OF_TWO_WEIGHTS, TWO_WEIGHTS)
    (tmp_path / RECORD).write_bytes(before)
    if record == "absent":
        (tmp_path / RECORD).unlink()
    assert has_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path).record == RECORD_OF_TWO_WEIGHTS
    assert load_checkpoint(tmp_path).tensors["model.weights"].tolist() == [[0.5, 2.0]]
    check_checkpoint_folder(tmp_path)
    save_checkpoint(tmp_path, replace(RECORD_OF_TWO_WEIGHTS, epoch=3), TWO_WEIGHTS)
    assert json.loads((tmp_path / RECORD).read_text())["epoch"] == 3


# --- what is damaged


@given(st.data())
def test_a_flipped_bit_is_an_error_or_changes_nothing(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        path = Path(name)
        save_checkpoint(path, RECORD_OF_TWO_WEIGHTS, TWO_WEIGHTS)
        file = path / data.draw(st.sampled_from([STATE, RECORD]))
        content = bytearray(file.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
        try:
            checkpoint = load_checkpoint(path)
        except InputError:
            assert file.name == STATE
            return
        assert checkpoint.record == RECORD_OF_TWO_WEIGHTS
        assert checkpoint.tensors["model.weights"].tolist() == [[0.5, 2.0]]


TWO_WEIGHTS = {"model.weights": torch.tensor([[0.5, 2.0]])}
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


# --- earlier formats: checkpoint.json names the tensors of its epoch; the first had no digests


def save_earlier(folder: Path, number: int, **changes: object) -> None:
    tensors = safetensors.torch.save(TWO_WEIGHTS, {"made_by": "pomona", "holds": "checkpoint"})
    (folder / "epoch-0002.safetensors").write_bytes(tensors)
    record = {"format": number, "tensors": "epoch-0002.safetensors", **asdict(RECORD_OF_TWO_WEIGHTS), **changes}
    if number == 2:
        record = sealed(record | {"tensors_digest": bytes_digest(tensors)})
    (folder / RECORD).write_text(json_text(record))


@pytest.mark.parametrize("number", [1, 2])
def test_earlier_formats_are_read_and_replaced(tmp_path: Path, number: int) -> None:
    save_earlier(tmp_path, number)
    assert has_checkpoint(tmp_path)
    for path in (tmp_path, tmp_path / RECORD):
        checkpoint = load_checkpoint(path)
        assert checkpoint.record == RECORD_OF_TWO_WEIGHTS
        assert checkpoint.tensors["model.weights"].tolist() == [[0.5, 2.0]]
    check_checkpoint_folder(tmp_path)
    save_checkpoint(tmp_path, replace(RECORD_OF_TWO_WEIGHTS, epoch=3), TWO_WEIGHTS)
    assert sorted(file.name for file in tmp_path.iterdir()) == [RECORD, STATE]
    assert load_checkpoint(tmp_path).record.epoch == 3


def test_earlier_formats_are_checked(tmp_path: Path) -> None:
    save_earlier(tmp_path, 2, tensors="gone.safetensors")
    with pytest.raises(InputError, match="can't be read"):
        load_checkpoint(tmp_path)
    save_earlier(tmp_path, 2, epochs="three")
    with pytest.raises(InputError, match="epochs is 'three', not int"):
        load_checkpoint(tmp_path)
    save_earlier(tmp_path, 2)
    whole = (tmp_path / RECORD).read_text()
    for damaged in (whole.replace("0.123", "0.124"), whole.replace(f'"{DIGEST}"', '"digesd"')):
        (tmp_path / RECORD).write_text(damaged)
        with pytest.raises(InputError, match="damaged"):
            load_checkpoint(tmp_path)
    (tmp_path / RECORD).write_text(whole)
    tensors = bytearray((tmp_path / "epoch-0002.safetensors").read_bytes())
    tensors[-1] ^= 1
    (tmp_path / "epoch-0002.safetensors").write_bytes(tensors)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path)
    # One with digests is not of the format that had none.
    (tmp_path / RECORD).write_text(whole.replace('"format": 2', '"format": 1'))
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path)
    (tmp_path / RECORD).write_text('{"format": 99}')
    with pytest.raises(InputError, match="format"):
        load_checkpoint(tmp_path)
