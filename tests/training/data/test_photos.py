from __future__ import annotations

import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces import InputError
from training.data.photos import PhotoSet, labelled_photos, read_photos, scan, unreadable_photos

from ...shared import SHARED_DATA, needs_data
from .folders import BARE, TWO_SPLITS, Layout, files_below, write_folder, write_photo

GROUPED = "path,label,split,group\n" + "".join(
    f"{label}/{number}.png,{label},,{label}{number // 3}\n" for label in BARE for number in range(10)
)


def _names(photos: PhotoSet, split: str) -> set[str]:
    return {photo.path for photo in photos.photos if photo.split == split}


def test_a_folder_with_splits_is_taken_as_it_is(tmp_path: Path) -> None:
    photos = scan(write_folder(tmp_path / "orchard", TWO_SPLITS))
    assert photos.classes == ("apple", "pear")
    assert photos.source == "orchard"
    assert photos.counts == {"train": {"apple": 4, "pear": 3}, "valid": {"apple": 2, "pear": 2}}
    splits = photos.at(8)
    assert splits.test is None
    assert (len(splits.train), len(splits.valid)) == (7, 4)
    assert splits.train.groups == ()


@pytest.mark.parametrize("manifest", [None, GROUPED], ids=["no groups", "groups"])
def test_a_bare_folder_is_split_into_parts_that_are_disjoint_and_cover(tmp_path: Path, manifest: str | None) -> None:
    photos = scan(write_folder(tmp_path, BARE, manifest))
    train, valid = _names(photos, "train"), _names(photos, "valid")
    assert not train & valid
    assert train | valid == {f"{label}/{number}.png" for label in BARE for number in range(10)}
    if manifest:
        groups = [{p.group for p in photos.photos if p.split == split} for split in ("train", "valid")]
        assert not groups[0] & groups[1]
    else:
        assert photos.counts["valid"] == {"apple": 2, "pear": 2}


def test_train_without_valid_gives_a_part_of_itself_and_leaves_test_alone(tmp_path: Path) -> None:
    layout = {"train/apple": 10, "train/pear": 10, "test/apple": 3, "test/pear": 4}
    photos = scan(write_folder(tmp_path, layout))
    assert photos.counts == {
        "train": {"apple": 8, "pear": 8},
        "valid": {"apple": 2, "pear": 2},
        "test": {"apple": 3, "pear": 4},
    }
    test = photos.at(8).test
    assert test is not None
    assert all(name.startswith("test/") for name in test.names)


def test_the_seed_decides_the_split_and_changes_the_fingerprint(tmp_path: Path) -> None:
    write_folder(tmp_path, BARE)
    first, again, other = (scan(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert _names(first, "valid") != _names(other, "valid")
    assert first.fingerprint != other.fingerprint


def test_equal_files_fall_on_one_side(tmp_path: Path) -> None:
    write_folder(tmp_path, BARE)
    for number in range(10):
        shutil.copy(tmp_path / f"apple/{number}.png", tmp_path / f"apple/copy{number}.png")
    for seed in range(4):
        sides = Counter((photo.digest, photo.split) for photo in scan(tmp_path, seed=seed).photos)
        assert len({digest for digest, _ in sides}) == len(sides) == 20


def test_rows_labels_and_names_belong_together(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS)
    splits = scan(tmp_path).at(8)
    for split in (splits.train, splits.valid):
        inputs, labels = split.take(torch.arange(len(split)))
        assert torch.equal(inputs, read_photos([tmp_path / name for name in split.names], 8))
        assert [splits.classes[label] for label in labels] == [Path(name).parent.name for name in split.names]
    assert splits.train.inputs.data_ptr() == splits.valid.inputs.data_ptr()


def test_another_split_of_the_same_photos_decodes_nothing_again(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path, BARE)
    for seed in range(3):
        scan(tmp_path, seed=seed).at(8)
    assert len(list((cache / "decoded").glob("*.npy"))) == 1


def test_photos_without_a_group_are_groups_of_their_own_where_others_have_one(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS, "path,group\ntrain/pear/0.png,g\ntrain/pear/1.png,g\n")
    groups = scan(tmp_path).at(8).train.groups
    assert len(groups) == 7
    assert len(set(groups)) == 6


def test_the_fingerprint_does_not_depend_on_where_the_files_lie_or_how_old_they_are(tmp_path: Path) -> None:
    here = write_folder(tmp_path / "here", BARE, GROUPED)
    expected = scan(here)
    there = shutil.copytree(here, tmp_path / "elsewhere" / "there")
    for path in there.rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    moved = scan(there)
    assert moved.fingerprint == expected.fingerprint
    assert moved.photos == expected.photos
    assert moved.at(8).fingerprint == expected.at(8).fingerprint != expected.at(9).fingerprint


def _flip_a_pixel(root: Path) -> None:
    image = Image.open(root / "train/apple/0.png").convert("RGB")
    red, green, blue = np.asarray(image)[0, 0]
    image.putpixel((0, 0), (int(red) ^ 1, int(green), int(blue)))
    image.save(root / "train/apple/0.png")


def _move(root: Path, old: str, new: str) -> None:
    (root / old).rename(root / new)


@pytest.mark.parametrize(
    "change",
    [
        _flip_a_pixel,
        lambda root: _move(root, "train/apple/0.png", "train/pear/x.png"),
        lambda root: _move(root, "train/apple/0.png", "valid/apple/x.png"),
        lambda root: [_move(root, f"{split}/apple", f"{split}/quince") for split in ("train", "valid")],
        lambda root: (root / "train/apple/0.png").unlink(),
        lambda root: (root / "manifest.csv").write_text("path,group\ntrain/apple/0.png,g\n"),
    ],
    ids=["a pixel", "a label", "a split", "a class name", "one photo less", "a group"],
)
def test_the_fingerprint_changes_with(tmp_path: Path, change: object) -> None:
    before = scan(write_folder(tmp_path, TWO_SPLITS)).fingerprint
    assert callable(change)
    change(tmp_path)
    assert scan(tmp_path).fingerprint != before


def test_files_that_are_no_photos_are_named_counted_and_skipped_only_on_demand(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS)
    clean = scan(tmp_path).fingerprint
    shutil.rmtree(cache)
    bad = ["train/apple/0a.txt", "train/apple/b.db", "train/pear/cut.png", "valid/pear/notes.txt"]
    for name in bad:
        (tmp_path / name).write_bytes((tmp_path / "train/pear/0.png").read_bytes()[:200] if "cut" in name else b"x")
    with pytest.raises(InputError, match=r"4 of 15 files .*'train/apple/0a\.txt' .*, \.\.\.: .*--skip-unreadable"):
        scan(tmp_path)
    assert not cache.exists()
    photos = scan(tmp_path, skip_unreadable=True)
    assert sorted(photos.skipped) == bad
    assert photos.fingerprint == clean
    assert len(photos.at(8).train) == 7


@pytest.mark.parametrize(
    ("layout", "manifest", "message"),
    [
        ({"apple": 9}, None, "1 class"),
        (TWO_SPLITS | {"train/quince": 2}, None, "class 'quince' has photos in train but none in valid"),
        (TWO_SPLITS | {"valid/quince": 2}, None, "class 'quince' has photos in valid but none in train"),
        (TWO_SPLITS | {"test/apple": 2}, None, "class 'pear' has photos in train but none in test"),
        (TWO_SPLITS, "path,group\ntrain/pear/0.png,g7\nvalid/pear/0.png,g7\n", "group 'g7' is in train and valid"),
        ({"apple": 9, "pear": 1}, None, "class 'pear' is too small"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_and_nothing_is_cached(
    tmp_path: Path, cache: Path, layout: Layout, manifest: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        scan(write_folder(tmp_path, layout, manifest))
    assert "\n" not in str(caught.value)
    assert files_below(cache) == []


def test_a_class_of_which_nothing_can_be_read_is_missing(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS)
    for number in range(2):
        (tmp_path / f"valid/pear/{number}.png").write_bytes(b"")
    with pytest.raises(InputError, match="class 'pear' has photos in train but none in valid"):
        scan(tmp_path, skip_unreadable=True)


def test_labels_follow_the_given_classes_not_the_folder(tmp_path: Path) -> None:
    classes = ("pear", "quince", "apple")
    labelled = labelled_photos(write_folder(tmp_path, TWO_SPLITS), classes, None, 8)
    split = labelled.examples
    assert (labelled.split, len(split)) == ("valid", 4)
    assert [classes[label] for label in split.labels] == [Path(name).parent.name for name in split.names]
    assert len(labelled_photos(tmp_path, classes, "train", 8).examples) == 7


@pytest.mark.parametrize("layout", [{"pear": 3}, {"train/pear": 3}, {"train/pear": 3, "test/pear": 2}])
def test_all_that_is_to_be_divided_is_taken(tmp_path: Path, layout: Layout) -> None:
    write_folder(tmp_path, layout)
    for split in (None, "valid", "train"):
        labelled = labelled_photos(tmp_path, ("apple", "pear"), split, 8)
        assert (labelled.split, len(labelled.examples)) == ("", 3)


@pytest.mark.parametrize(
    ("layout", "split", "message"),
    [
        (BARE | {"quince": 1}, None, "class 'quince', which is none of apple, pear"),
        (BARE, "test", "no split 'test', it has none"),
        (TWO_SPLITS, "test", "no split 'test', it has train and valid"),
        ({"test/pear": 2}, None, "no split 'valid', it has test: name that one, or other data"),
        ({"test/pear": 2}, "train", "no split 'train', it has test: leave"),
        ({"valid/pear": 2}, "train", "no split 'train', it has valid: leave"),
    ],
)
def test_labelled_photos_refuses(tmp_path: Path, layout: Layout, split: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        labelled_photos(write_folder(tmp_path, layout), ("apple", "pear"), split, 8)


@pytest.mark.parametrize(("name", "split"), [("test", "test"), ("valid", "valid"), ("valid", None)])
def test_a_split_that_came_by_itself_can_be_scored_and_not_trained_on(
    tmp_path: Path, name: str, split: str | None
) -> None:
    write_folder(tmp_path, {f"{name}/apple": 2, f"{name}/pear": 1, "train": 1})
    labelled = labelled_photos(tmp_path, ("apple", "pear"), split, 8)
    assert (labelled.split, sorted(labelled.examples.labels.tolist())) == (name, [0, 0, 1])
    with pytest.raises(InputError, match=f"has {name} but train/ holds no class folders"):
        scan(tmp_path)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(InputError, match=f"has {name} but no train/: add it"):
        scan(tmp_path)


def test_labelled_photos_skips_only_on_demand(tmp_path: Path) -> None:
    write_folder(tmp_path, {"apple": 2})
    (tmp_path / "apple/notes.txt").write_text("x")
    with pytest.raises(InputError, match="1 of 3 files"):
        labelled_photos(tmp_path, ("apple", "pear"), None, 8)
    labelled = labelled_photos(tmp_path, ("apple", "pear"), None, 8, skip_unreadable=True)
    assert len(labelled.examples) == 2
    assert labelled.note == "1 unreadable files left out, the first of them 'apple/notes.txt'"
    for number in range(2):
        (tmp_path / f"apple/{number}.png").unlink()
    with pytest.raises(InputError, match="no photo that can be read"):
        labelled_photos(tmp_path, ("apple", "pear"), None, 8, skip_unreadable=True)


def test_read_photos_names_the_file_that_it_cannot_read(tmp_path: Path) -> None:
    good = write_photo(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("x")
    assert read_photos([good, good], 8).shape == (2, 8, 8, 3)
    for name in ("cut.png", "notes.txt", "missing.png", "."):
        with pytest.raises(InputError, match=f"cannot read .*{name}"):
            read_photos([good, tmp_path / name], 8)


def test_all_that_cannot_be_read_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    good = write_photo(tmp_path / "good.png")
    broken = [tmp_path / f"{number}.heic" for number in range(4)]
    for path in broken:
        path.write_text("x")
    with pytest.raises(InputError, match=r"cannot read 4 of 6 files: .*0\.heic.*1\.heic.*2\.heic' \([^)]*\), \.\.\.:"):
        read_photos([good, *broken, good], 8)
    found = unreadable_photos([good, *broken, tmp_path])
    assert [*found] == [*broken, tmp_path]
    assert found[tmp_path] == f"cannot read {str(tmp_path)!r}: it is a folder, name its files: {tmp_path}/*"
    for path, why in found.items():
        with pytest.raises(InputError) as caught:
            read_photos([path], 8)
        assert str(caught.value) == why


def test_some_photos_tell_how_long_all_take_and_those_that_are_gone_tell_nothing(tmp_path: Path) -> None:
    read = scan(write_folder(tmp_path / "photos", TWO_SPLITS))
    assert read.reading_seconds(32) > 0
    read.at(32)
    assert read.reading_seconds(32) == 0.0  # the cache has them
    assert read.reading_seconds(16) > 0
    shutil.rmtree(tmp_path / "photos")
    assert read.reading_seconds(16) == 0.0


@needs_data
def test_real_fruit_has_the_counts_and_groups_that_are_known_of_it() -> None:
    photos = scan(SHARED_DATA / "fruit")
    assert len(photos.classes) == 6
    assert {split: sum(counts.values()) for split, counts in photos.counts.items()} == {"train": 938, "valid": 334}
    groups = {split: len({p.group for p in photos.photos if p.split == split}) for split in photos.counts}
    assert groups == {"train": 559, "valid": 147}
    assert photos.skipped == ()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_no_other_photos_take_the_place_of_a_split_that_cannot_be_read(tmp_path: Path, split: str) -> None:
    write_folder(tmp_path, TWO_SPLITS | {"test/apple": 2, "test/pear": 2})
    lost = list((tmp_path / split).rglob("*.png"))
    for path in lost:
        path.write_bytes(b"of a telephone")
    with pytest.raises(InputError, match=f"none of the {len(lost)} photos in {split} can be read"):
        scan(tmp_path, skip_unreadable=True)


def test_a_class_whose_accents_a_mac_wrote_is_the_class_that_was_trained_on(tmp_path: Path) -> None:
    write_folder(tmp_path, {unicodedata.normalize("NFD", "café"): 2, "pear": 1})
    labelled = labelled_photos(tmp_path, (unicodedata.normalize("NFC", "café"), "pear"), None, 8)
    assert sorted(labelled.examples.labels.tolist()) == [0, 0, 1]
