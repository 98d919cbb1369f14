"""A checkpoint is never scored on what it was trained on unless that is asked for, and then it is said."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from search_spaces import BONUS, IMAGES, SMS_SPAM, InputError, Task
from training import Checkpoint, Numerics, fit, load_checkpoint
from training.data import Data, open_data
from training.data.idx import IdxSet
from training.export.held_out import LabelledSource, Scored, examples_to_compare, examples_to_score
from training.lanes.checkpoint import TRAINED_ON, CheckpointRecord, save_checkpoint

from ...toys import TOY, toy_backbone, toy_splits
from ...trained import LEVEL
from ..data.folders import BARE, TWO_SPLITS, write_folder, write_photo
from ..data.test_idx import folder_of

SIDE = 8


def trained(data: Data, task: Task) -> Checkpoint:
    """What a training run on `data` leaves behind, but for the model."""
    splits = data.at(SIDE)
    assert splits.train.identities is not None
    record = CheckpointRecord(
        task=task.name,
        config={},
        classes=splits.classes,
        resolution=SIDE,
        seed=0,
        epoch=1,
        epochs=1,
        curve=[],
        numerics=Numerics(),
        weights="",
        fingerprint=splits.fingerprint,
        source=splits.source,
        data=splits.location,
        environment={},
        modality=task.modality,
        columns=task.columns,
        metric=task.metric,
    )
    return Checkpoint(Path("made"), record, {TRAINED_ON: splits.train.identities.sort().values})


def on_photos(folder: Path) -> Checkpoint:
    return trained(open_data(folder, IMAGES), IMAGES)


def forgetful(checkpoint: Checkpoint) -> Checkpoint:
    """As earlier versions wrote it."""
    return replace(checkpoint, tensors={})


def scored(checkpoint: Checkpoint, data: Path | str | None = None, split: str | None = None) -> Scored:
    return examples_to_score(checkpoint, LabelledSource(None if data is None else str(data)), split)


def noted(found: Scored) -> str:
    return "\n".join(found.notes)


# Rows and texts: whatever is done to the file, a row or text that was trained on is not scored.

Row = tuple[int, float, int]
rows = st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1e-9, 1700000001.0, 1700000002.0]), st.integers(0, 1))
CLASSES = ("junior", "senior")


def write_rows(file: Path, task: Task, found: Sequence[Row], *, plainly: bool = True) -> Path:
    """With a class of two as the last cell, or a number; `plainly` or as another program writes the same numbers."""

    def cell(value: float) -> str:
        return repr(value) if plainly else f" {value:+.17e}"

    last = [CLASSES[row[2]] if task is LEVEL else cell(row[2]) for row in found]
    lines = [f"{cell(row[0])},x,{cell(row[1])},{end}" for row, end in zip(found, last, strict=True)]
    file.write_text("\n".join([",".join([task.columns[0], "who", *task.columns[1:]]), *lines]) + "\n")
    return file


NUMBER = replace(LEVEL, name="number", metric="r2")


@settings(max_examples=25)
@given(
    task=st.sampled_from([LEVEL, NUMBER]),
    before=st.lists(rows, min_size=10, max_size=30),
    added=st.lists(rows, max_size=5),
    removed=st.integers(0, 20),
    order=st.randoms(use_true_random=False),
)
def test_no_row_that_was_trained_on_is_scored(
    tmp_path_factory: pytest.TempPathFactory,
    task: Task,
    before: list[Row],
    added: list[Row],
    removed: int,
    order: object,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    try:
        data = open_data(write_rows(folder / "rows.csv", task, before), task)
    except InputError:
        reject()  # too few different rows to be split
    checkpoint = trained(data, task)
    learnt = {before[row] for row in data.at(0).train.rows.tolist()}
    after = [*before, *added]
    order.shuffle(after)  # type: ignore[attr-defined]
    after = after[removed:] or after[:1]
    new = [line for line, row in enumerate(after, 2) if row not in learnt]
    file = write_rows(folder / "other.csv", task, after, plainly=False)
    if not new:
        with pytest.raises(InputError, match=rf"all {len(after)} examples .* were trained on: .* --split train"):
            scored(checkpoint, file)
        return
    found = scored(checkpoint, file)
    assert found.examples.names == tuple(f"other.csv line {line}" for line in new)
    assert (found.n_trained_on, found.n_left_out) == (0, len(after) - len(new))
    assert (f"{found.n_left_out} of the {len(after)} examples" in noted(found)) == (found.n_left_out > 0)


words = st.lists(st.sampled_from(["win", "call", "me", "ü", "0900"]), min_size=1, max_size=3).map(tuple)


@settings(max_examples=25)
@given(
    before=st.lists(st.tuples(words, st.booleans()), min_size=8, max_size=30),
    added=st.lists(st.tuples(words, st.booleans()), max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_no_text_that_was_trained_on_is_scored(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[tuple[str, ...], bool]],
    added: list[tuple[tuple[str, ...], bool]],
    order: object,
) -> None:
    folder = tmp_path_factory.mktemp("texts")

    def write(name: str, texts: list[tuple[tuple[str, ...], bool]], *, loudly: bool = False) -> Path:
        lines = [f"{'spam' if spam else 'ham'}\t{' '.join(found)}" for found, spam in texts]
        if loudly:
            lines = [line.replace(" ", "  ").replace("win", "WIN") + " \r" for line in lines]
        (folder / name).write_text("\n".join(lines) + "\n", newline="")
        return folder / name

    try:
        data = open_data(write("texts.tsv", before), SMS_SPAM)
    except InputError:
        reject()  # too few different texts to be split
    checkpoint = trained(data, SMS_SPAM)
    learnt = {before[row][0] for row in data.at(0).train.rows.tolist()}
    after = [*before, *added]
    order.shuffle(after)  # type: ignore[attr-defined]
    # Under another label, in capitals, with more space: its words are known.
    file = write("other.tsv", after, loudly=True)
    new = [found for found, _ in after if found not in learnt]
    assert new  # those that were held out
    names = scored(checkpoint, file).examples.names
    assert [tuple(name.lower().split()) for name in names] == new


def test_of_generated_rows_none_was_trained_on() -> None:
    data = open_data("generated:0", BONUS)
    checkpoint = trained(data, BONUS)
    learnt = set(map(tuple, data.at(0).train.take(torch.arange(len(data.at(0).train)))[0].tolist()))
    found = scored(checkpoint, "generated:1")
    assert found.n_left_out > 0
    assert not learnt & set(map(tuple, found.examples.take(torch.arange(len(found.examples)))[0].tolist()))


# Photos.


@pytest.mark.parametrize("forgets", [False, True])
def test_without_data_it_is_scored_as_in_training(tmp_path: Path, forgets: bool) -> None:
    checkpoint = on_photos(write_folder(tmp_path, BARE))
    splits = open_data(tmp_path, IMAGES).at(SIDE)
    checkpoint = forgetful(checkpoint) if forgets else checkpoint
    found = scored(checkpoint)
    assert found.examples.names == splits.valid.names
    assert (found.n_trained_on, found.n_left_out, found.notes) == (0, 0, ())
    train = scored(checkpoint, None, "train")
    assert (train.examples.names, train.n_trained_on) == (splits.train.names, 16)
    assert "all 16 examples scored were trained on" in noted(train)


@pytest.mark.parametrize("layout", [BARE, {"train/apple": 10, "train/pear": 10, "test/apple": 2, "test/pear": 2}])
def test_a_folder_without_valid_is_scored_as_in_training_too(tmp_path: Path, layout: dict[str, int]) -> None:
    folder = write_folder(tmp_path / "photos", layout)
    checkpoint = on_photos(folder)
    splits = open_data(folder, IMAGES).at(SIDE)
    moved = shutil.copytree(folder, tmp_path / "moved")
    for number, photo in enumerate(sorted(moved.rglob("*.png"))):
        photo.rename(photo.with_name(f"renamed {number}.png"))
    for place in (folder, moved):
        for split in (None, "valid"):
            found = scored(checkpoint, place, split)
            assert found.examples.keys == splits.valid.keys
            assert torch.equal(found.examples.labels, splits.valid.labels)
            assert (found.n_trained_on, found.n_left_out) == (0, 16)
            assert "16 of the 20 examples of" in noted(found)
        train = scored(checkpoint, place, "train")
        assert train.examples.keys == splits.train.keys
        assert (train.n_trained_on, train.n_left_out) == (16, 0)
    if "apple" in layout:
        with pytest.raises(InputError, match="no split 'test', it has none: leave the split out"):
            scored(checkpoint, folder, "test")
    else:
        assert len(scored(checkpoint, folder, "test").examples) == 4


def test_of_another_folder_what_is_known_is_left_out(tmp_path: Path) -> None:
    checkpoint = on_photos(write_folder(tmp_path / "photos", BARE))
    learnt = [tmp_path / "photos" / name for name in scored(checkpoint, None, "train").examples.names]
    for place in ("apple", "pear"):
        write_photo(tmp_path / "other" / place / "new.png", f"new {place}")
        # Also where it was put into another class since.
        shutil.copy(learnt[0], tmp_path / "other" / place / f"copy in {place}.png")
    found = scored(checkpoint, tmp_path / "other")
    assert found.examples.names == ("apple/new.png", "pear/new.png")
    assert (found.n_trained_on, found.n_left_out) == (0, 2)
    for photo in (tmp_path / "other").rglob("new.png"):
        photo.unlink()
    with pytest.raises(InputError, match=r"all 2 examples .* were trained on: name other data, or .* --split train"):
        scored(checkpoint, tmp_path / "other")
    assert scored(checkpoint, tmp_path / "other", "train").n_trained_on == 2


@pytest.mark.parametrize("split", ["train", "valid"])
def test_of_an_unknown_folder_without_splits_no_split_can_be_had(tmp_path: Path, split: str) -> None:
    checkpoint = on_photos(write_folder(tmp_path / "photos", BARE))
    write_photo(tmp_path / "other" / "pear" / "new.png")
    found = scored(checkpoint, tmp_path / "other")
    assert (len(found.examples), found.n_trained_on, found.n_left_out, found.notes) == (1, 0, 0, ())
    with pytest.raises(
        InputError, match=r"has no splits, and none of its 1 examples .*: leave the split out"
    ) as caught:
        scored(checkpoint, tmp_path / "other", split)
    assert "\n" not in str(caught.value)


def test_a_split_of_the_data_itself_is_scored_and_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TWO_SPLITS)
    shutil.copy(folder / "train/pear/0.png", folder / "valid/pear/copy.png")
    checkpoint = on_photos(folder)
    for data in (None, folder):
        found = scored(checkpoint, data)
        assert (len(found.examples), found.n_trained_on, found.n_left_out) == (5, 1, 0)
        assert "1 of 5 examples scored were trained on" in noted(found)
        assert scored(checkpoint, data, "train").n_trained_on == 7


def test_data_that_has_changed_since_is_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, BARE)
    checkpoint = on_photos(folder)
    held_out = scored(checkpoint).examples.names
    write_photo(folder / "apple/added.png")
    found = scored(checkpoint)
    assert set(found.examples.names) == {*held_out, "apple/added.png"}
    assert found.n_left_out == 16
    assert "is not what it was when the checkpoint was trained on it" in noted(found)


def test_a_checkpoint_of_an_earlier_version_can_not_tell(tmp_path: Path) -> None:
    checkpoint = forgetful(on_photos(write_folder(tmp_path, BARE)))
    found = scored(checkpoint, tmp_path)
    assert (len(found.examples), found.n_trained_on, found.n_left_out) == (20, None, 0)
    assert "does not say what it was trained on" in noted(found)
    with pytest.raises(InputError, match="does not say what it was trained on: leave the split out"):
        scored(checkpoint, tmp_path, "valid")


def test_images_of_a_published_set_keep_their_split(tmp_path: Path) -> None:
    data = open_data(folder_of(tmp_path), IMAGES)
    assert isinstance(data, IdxSet)
    found = scored(trained(data, IMAGES), tmp_path)
    assert found.examples.names == data.at(SIDE).valid.names
    assert found.n_left_out == 0


# An export is compared on what was held out, and calibrated with what was trained on.


def compared(checkpoint: Checkpoint, folder: Path | None, *, calibrate: bool = True) -> tuple[set[str], set[str]]:
    source = LabelledSource(None if folder is None else str(folder))
    first, second = examples_to_compare(checkpoint, source, calibrate=calibrate)
    return set(first.examples.names), set(second.names)


@pytest.mark.parametrize("layout", [BARE, TWO_SPLITS])
def test_an_export_is_compared_on_what_was_held_out(tmp_path: Path, layout: dict[str, int]) -> None:
    checkpoint = on_photos(write_folder(tmp_path, layout))
    splits = open_data(tmp_path, IMAGES).at(SIDE)
    for data in (None, tmp_path):
        assert compared(checkpoint, data) == (set(splits.valid.names), set(splits.train.names))
        assert compared(checkpoint, data, calibrate=False)[0] == set(splits.valid.names)


@pytest.mark.parametrize("known", [False, True])
def test_data_without_splits_serves_an_export_all_the_same(tmp_path: Path, known: bool) -> None:
    checkpoint = on_photos(write_folder(tmp_path / "photos", TWO_SPLITS))
    other = tmp_path / "photos" / "train" if known else write_folder(tmp_path / "other", {"apple": 4, "pear": 3})
    first, second = compared(checkpoint, other)
    assert not first & second
    assert (len(first), len(second)) == (2, 5)
    assert len(compared(checkpoint, other, calibrate=False)[0]) == 7


# What a training run writes.


class Killed(Exception):
    pass


def test_a_checkpoint_knows_what_it_was_trained_on_also_when_it_goes_on(tmp_path: Path) -> None:
    splits = toy_splits()
    learnt = splits.train.identities
    assert learnt is not None

    def die(_epoch: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        fit(TOY, TOY.recipe, splits, epochs=2, backbones=toy_backbone, checkpoint_to=tmp_path, on_epoch=die)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.trained_on is not None
    assert torch.equal(checkpoint.trained_on, learnt.sort().values)
    # One of an earlier version is loaded, used, and gone on with.
    save_checkpoint(tmp_path, checkpoint.record, {n: t for n, t in checkpoint.tensors.items() if n != TRAINED_ON})
    assert load_checkpoint(tmp_path).trained_on is None
    fit(TOY, TOY.recipe, splits, epochs=2, backbones=toy_backbone, checkpoint_to=tmp_path, resume_from=tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.record.epoch == 2
    assert checkpoint.trained_on is not None
    assert torch.equal(checkpoint.trained_on, learnt.sort().values)
