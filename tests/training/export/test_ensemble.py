"""Several checkpoints that answer as one: each member's part is what it says alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pomona import onnx_predict
from search_spaces import BONUS, FRUIT, Choice, InputError, Task
from training import Checkpoint, Numerics, Split, fit, load_checkpoint, load_model, open_data
from training.data.packed import Packed, at_resolution, pack, shown
from training.export.evaluate import evaluate, predict, predict_outputs
from training.export.export_int8 import check_quantisable
from training.export.held_out import LabelledSource, examples_to_score
from training.export.onnx import export_onnx, open_session, predictions, sample_of
from training.lanes.checkpoint import TRAINED_ON, check_checkpoint_folder
from training.lanes.ensemble_checkpoint import EnsembleCheckpoint, Member, load_ensemble, save_ensemble
from training.models.ensemble import Ensemble
from training.models.weights import load_backbone
from training.scoring.intervals import wilson

from ...shared import SHARED_DATA, SHARED_WEIGHTS, needs_data, needs_weights
from ...toys import SMALL, small_weights, toy_splits

CPU = torch.device("cpu")
SIDES = (32, 48)
SPLITS = {side: toy_splits(resolution=side) for side in SIDES}
VALID = pack({side: splits.valid for side, splits in SPLITS.items()})
TASK = replace(SMALL, space=SMALL.space.replace(resolution=Choice(*SIDES)))
WEIGHTS = (0.5, 0.25, 0.25)
# Two of them share their stages, and one sees larger pictures with stages of its own.
CHANGES = (
    {"unfrozen_stages": 0},
    {"unfrozen_stages": 0, "learning_rate": 0.001},
    {"unfrozen_stages": 1, "resolution": 48},
)


def ensemble_in(folder: Path, task: Task, changes: tuple[dict[str, object], ...], **options: object) -> None:
    members = []
    for number, change in enumerate(changes):
        config = task.space.validate(task.space.activate(task.recipe | change))
        place = f"members/{number:05d}"
        splits = options["splits"](config)  # type: ignore[operator]
        fit(task, config, splits, epochs=1, checkpoint_to=folder / place, backbones=options["backbones"])
        members.append(Member(place, WEIGHTS[number], number))
    save_ensemble(folder, members, wilson(0.75, 24), wilson(0.5, 12), 0.001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    weights = small_weights(tmp_path_factory.mktemp("weights"))
    ensemble_in(
        folder,
        TASK,
        CHANGES,
        splits=lambda config: SPLITS[config["resolution"]],
        backbones=lambda name: load_backbone(name, weights_dir=weights),
    )
    return folder


@pytest.fixture(scope="module")
def ensemble(folder: Path) -> EnsembleCheckpoint:
    return load_ensemble(folder)


def mean_of_members(ensemble: EnsembleCheckpoint, split: Split) -> torch.Tensor:
    total = torch.zeros(())
    for member, weight in zip(ensemble.members, ensemble.weights, strict=True):
        record = member.record
        own = at_resolution(split, record.resolution)
        total = total + weight * predict_outputs(member.classifier(CPU), own, CPU, record.numerics)
    return total


def test_it_is_the_weighted_mean_of_what_its_members_say_alone(ensemble: EnsembleCheckpoint) -> None:
    outputs = predict_outputs(ensemble.classifier(CPU), VALID, CPU, Numerics())
    torch.testing.assert_close(outputs, mean_of_members(ensemble, VALID), rtol=1e-5, atol=1e-5)
    result = evaluate(ensemble, VALID, CPU)
    assert torch.equal(result.outputs, outputs)
    assert result.score.n == len(VALID)


def test_equal_stages_are_shared_and_others_are_not(ensemble: EnsembleCheckpoint) -> None:
    first, second, third = ensemble.classifier().classifiers
    assert first.stages is second.stages
    assert third.stages is not first.stages
    calls = []
    first.stages[0].register_forward_hook(lambda *_: calls.append(1))
    model = Ensemble([first, second, third], WEIGHTS)
    predict_outputs(model, VALID, CPU, Numerics())
    assert calls == [1]


def test_it_says_what_it_is(folder: Path, ensemble: EnsembleCheckpoint) -> None:
    assert isinstance(load_model(folder), EnsembleCheckpoint)
    assert isinstance(load_model(folder / "ensemble.json"), EnsembleCheckpoint)
    alone = load_model(folder / "members" / "00001")
    assert type(alone) is Checkpoint
    assert ensemble.resolutions == SIDES
    assert (ensemble.trials, ensemble.weights) == ((0, 1, 2), WEIGHTS)
    record = ensemble.record
    assert (record.value, record.n, record.n_groups, record.resolution) == (0.75, 24, 12, 48)
    assert ensemble.configs[1] == alone.record.config
    assert ensemble.trained_on is not None


def test_one_file_answers_as_it_does(ensemble: EnsembleCheckpoint, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    exported = export_onnx(ensemble, tmp_path / "e.onnx", VALID)
    assert [path.name for path in tmp_path.iterdir()] == ["e.onnx"]
    assert exported.input.shape == (3 * (32**2 + 48**2),)
    session = open_session(exported.file)
    seen = pack({side: sample_of(SPLITS[side].valid, exported.kind, side, most=400) for side in SIDES})
    expected = mean_of_members(ensemble, VALID).numpy()
    np.testing.assert_allclose(predictions(session, seen), expected, rtol=1e-4, atol=1e-4)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["pomona.resolutions"]) == list(SIDES)
    assert json.loads(told["pomona.config"]) == ensemble.configs
    # What members share is written once.
    single = export_onnx(ensemble.members[0], tmp_path / "one.onnx", SPLITS[32].valid)
    assert single.bytes < exported.bytes < 2.2 * single.bytes


def test_of_one_resolution_the_file_takes_photos_as_ever(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    shutil.copytree(folder / "members", tmp_path / "members")
    members = [Member(f"members/0000{number}", 0.5, number) for number in (0, 1)]
    save_ensemble(tmp_path, members, wilson(0.5, 24), None, 0.001)
    ensemble = load_ensemble(tmp_path)
    exported = export_onnx(ensemble, tmp_path / "e.onnx", SPLITS[32].valid)
    assert exported.input.shape == (32, 32, 3)
    assert "pomona.resolutions" not in open_session(exported.file).get_modelmeta().custom_metadata_map


def test_numbers_are_averaged_in_their_unit(tmp_path: Path) -> None:
    splits = open_data("generated", BONUS).at(0)
    changes = ({"learning_rate": 0.05}, {"learning_rate": 0.01})
    ensemble_in(tmp_path, BONUS, changes, splits=lambda _config: splits, backbones=load_backbone)
    ensemble = replace(load_ensemble(tmp_path), weights=(0.75, 0.25))
    outputs = predict_outputs(ensemble.classifier(CPU), splits.valid, CPU, Numerics())
    torch.testing.assert_close(outputs, mean_of_members(ensemble, splits.valid))


@pytest.mark.slow
@needs_data
@needs_weights
def test_two_real_backbones_answer_as_one_for_real_photos(tmp_path: Path) -> None:
    """Of two resolutions, for photos that are read again from their files."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    data = open_data(SHARED_DATA / "fruit", FRUIT)
    changes = (
        {"backbone": "mobilenet_v2", "resolution": 128, "unfrozen_stages": 1},
        {"backbone": "squeezenet1_1", "resolution": 96, "unfrozen_stages": 0},
    )
    ensemble_in(
        tmp_path,
        FRUIT,
        tuple(change | {"augmentation": 0} for change in changes),
        splits=lambda config: data.at(config["resolution"]),
        backbones=lambda name: load_backbone(name, weights_dir=SHARED_WEIGHTS),
    )
    ensemble = replace(load_ensemble(tmp_path), weights=(0.5, 0.5))
    valid = examples_to_score(ensemble, LabelledSource(), None).examples
    outputs = predict_outputs(ensemble.classifier(CPU), valid, CPU, Numerics())
    torch.testing.assert_close(outputs, mean_of_members(ensemble, valid), rtol=1e-3, atol=1e-3)
    exported = export_onnx(ensemble, tmp_path / "e.onnx", valid)
    assert exported.max_difference <= exported.tolerance
    files = sorted((SHARED_DATA / "fruit" / "valid").rglob("*.jp*g"))[:8]
    by_torch = predict(ensemble, files, CPU)
    for one, other in zip(by_torch, onnx_predict.predict(tmp_path / "e.onnx", files), strict=True):
        assert other["label"] == one.label
        assert other["probabilities"] == pytest.approx(one.probabilities, abs=1e-3)


def test_int8_is_refused_in_a_line() -> None:
    with pytest.raises(InputError, match="leave --int8 out"):
        check_quantisable("image", models=2)


def test_no_other_checkpoint_is_written_into_its_folder(folder: Path) -> None:
    with pytest.raises(InputError, match="holds an ensemble"):
        check_checkpoint_folder(folder)


@pytest.mark.parametrize("damage", ["replaced", "lost", "digest", "other", "no JSON"])
def test_what_is_damaged_is_told(folder: Path, tmp_path: Path, damage: str) -> None:
    place = tmp_path / "e"
    shutil.copytree(folder, place)
    file, member = place / "ensemble.json", place / "members" / "00001" / "checkpoint.safetensors"
    if damage == "replaced":
        shutil.copy(place / "members" / "00000" / "checkpoint.safetensors", member)
    elif damage == "lost":
        member.unlink()
    elif damage == "digest":
        file.write_text(file.read_text().replace("0.25", "0.26"))
    elif damage == "other":
        file.write_text("[3]")
    else:
        file.write_text("{")
    with pytest.raises(InputError) as told:
        load_model(place)
    assert "\n" not in str(told.value)
    assert "--out" in str(told.value)


def test_a_packed_split_is_the_larger_one_for_people() -> None:
    assert isinstance(VALID, Packed)
    assert shown(VALID) is SPLITS[48].valid
    assert (len(VALID), VALID.names) == (24, SPLITS[48].valid.names)
    index = torch.tensor([3, 1])
    packed, labels = VALID.take(index)
    assert torch.equal(packed[:, : 3 * 32**2].reshape(-1, 32, 32, 3), SPLITS[32].valid.take(index)[0])
    assert torch.equal(labels, SPLITS[48].valid.labels[index])
    chosen = torch.arange(24) % 5 == 0
    assert torch.equal(VALID.subset(chosen).take(torch.arange(5))[0], VALID.take(torch.arange(0, 24, 5))[0])


def test_what_is_stored_in_one_form_is_not_packed() -> None:
    split = SPLITS[32].valid
    assert pack({32: split, 64: split}) is split
    assert shown(split) is at_resolution(split, 64) is split


def test_a_checkpoint_alone_has_one_model(folder: Path) -> None:
    alone = load_checkpoint(folder / "members" / "00000")
    assert (alone.resolutions, alone.configs, alone.curve_of) == ((32,), [alone.record.config], "")


def test_members_of_different_training_sets_are_told(ensemble: EnsembleCheckpoint) -> None:
    one = ensemble.members[0]
    assert one.trained_on is not None
    assert replace(ensemble, members=(one, replace(one))).is_of_one_training_set
    for changed in (one.trained_on[1:], one.trained_on + 1):
        other = replace(one, tensors=one.tensors | {TRAINED_ON: changed})
        assert not replace(ensemble, members=(one, one, other)).is_of_one_training_set
    before = replace(one, tensors={name: tensor for name, tensor in one.tensors.items() if name != TRAINED_ON})
    assert not replace(ensemble, members=(one, before)).is_of_one_training_set
    assert replace(ensemble, members=(before, before)).is_of_one_training_set
