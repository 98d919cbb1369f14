"""Folders that hold altered copies of their photos, as Kaggle's fruit does."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import FRUIT, InputError
from training.data import open_data
from training.data.copies import united_groups
from training.data.photos import PhotoSet, labelled_photos, scan

from ...shared import SHARED_DATA, needs_data
from .folders import BARE, TWO_SPLITS, write_folder, write_photo

CLASSES = ("apple", "pear")


def _kaggle(root: Path, *, originals: int = 10, other: str = "test", classes: tuple[str, ...] = CLASSES) -> Path:
    """Photos in three versions each: two in train and one in `other`, but every fifth photo is wholly in one."""
    for label in classes:
        for number in range(originals):
            name = f"Screen Shot 2018-06-08 at 4.59.{number:02d} PM.png"
            whole = {0: "train", 1: other}.get(number % 5)
            for split, prefix in ((other, ""), ("train", "rotated_by_15_"), ("train", "saltandpepper_")):
                write_photo(root / (whole or split) / label / f"{prefix}{name}", f"{label} {prefix}{name}")
    return root


def _groups(photos: PhotoSet, split: str) -> set[str]:
    return {photo.group for photo in photos.photos if photo.split == split}


@pytest.mark.parametrize("other", ["valid", "test"])
def test_a_split_through_copies_is_not_used(tmp_path: Path, other: str) -> None:
    photos = scan(_kaggle(tmp_path, other=other))
    assert photos.counts == {"train": {"apple": 24, "pear": 24}, "valid": {"apple": 6, "pear": 6}}
    assert not _groups(photos, "train") & _groups(photos, "valid")
    assert len(_groups(photos, "train") | _groups(photos, "valid")) == 20
    assert photos.location == str(tmp_path)
    # Of 10 photos in a class 6 are torn apart, with one version in the other split, and 2 lie there with all three.
    assert f"divided anew by original, as 12 of 24 {other} photos have a copy in train" in photos.summary()
    assert "--trust-split" in photos.summary()
    assert "\n" not in photos.summary()


def test_the_new_split_follows_the_seed(tmp_path: Path) -> None:
    _kaggle(tmp_path)
    first, again, later = (scan(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.fingerprint != later.fingerprint


@pytest.mark.parametrize("other", ["valid", "test"])
def test_a_split_that_is_trusted_is_the_folders_and_says_its_cost(tmp_path: Path, other: str) -> None:
    photos = scan(_kaggle(tmp_path, other=other), trust_split=True)
    kept = {photo.path for photo in photos.photos if photo.split == other}
    assert kept == {path.relative_to(tmp_path).as_posix() for path in (tmp_path / other).rglob("*.png")}
    assert f"kept, though 12 of 24 {other} photos have a copy in train" in photos.summary()
    assert photos.fingerprint != scan(tmp_path).fingerprint
    assert len(photos.at(8).train.groups) == sum(photos.counts["train"].values())


def test_validation_photos_taken_from_a_trusted_train_have_no_copy_there(tmp_path: Path) -> None:
    photos = scan(_kaggle(tmp_path), trust_split=True)
    assert not _groups(photos, "train") & _groups(photos, "valid")


def test_the_location_of_a_trusted_folder_opens_it_as_it_was(tmp_path: Path) -> None:
    classes = FRUIT.classes
    _kaggle(tmp_path, classes=classes)
    trusted = open_data(tmp_path, FRUIT, trust_split=True)
    assert open_data(trusted.location, FRUIT) == trusted
    assert open_data(str(tmp_path), FRUIT) == scan(tmp_path) != trusted


def test_a_split_without_copies_across_it_stays(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS)
    before = scan(tmp_path)
    assert scan(tmp_path, trust_split=True) == before
    (tmp_path / "train/apple/1.png").rename(tmp_path / "train/apple/translation_0.png")
    photos = scan(tmp_path)
    assert photos.counts == before.counts
    assert photos.note == ""
    assert {p.path for p in photos.photos if p.group} == {"train/apple/0.png", "train/apple/translation_0.png"}


def test_what_is_numbered_in_each_split_anew_is_not_taken_for_one_photo(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS)
    for number in range(4):
        write_photo(tmp_path / f"train/apple/rotated_by_15_{number}.png")
    photos = scan(tmp_path)
    assert photos.note == ""
    assert len(_groups(photos, "train")) == 5
    assert _groups(photos, "valid") == {""}


def test_equal_names_in_two_classes_are_two_photos(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS)
    (tmp_path / "valid/pear/0.png").rename(tmp_path / "valid/pear/translation_3.png")
    assert scan(tmp_path).note == ""


def test_a_bare_folder_is_divided_by_original(tmp_path: Path) -> None:
    for number in range(10):
        for label in BARE:
            write_photo(tmp_path / label / f"{number}.png", f"{label}{number}")
            write_photo(tmp_path / label / f"vertical_flip_{number}.png", f"{label}{number} flipped")
    photos = scan(tmp_path)
    assert photos.counts["valid"] == {"apple": 4, "pear": 4}
    assert not _groups(photos, "train") & _groups(photos, "valid")
    assert photos.note == ""


def test_a_manifest_knows_better_than_names(tmp_path: Path) -> None:
    _kaggle(tmp_path)
    path = next((tmp_path / "train/apple").iterdir()).relative_to(tmp_path).as_posix()
    (tmp_path / "manifest.csv").write_text(f"path,group\n{path},mine\n")
    photos = scan(tmp_path)
    assert set(photos.counts) == {"train", "valid", "test"}
    assert {photo.group for photo in photos.photos} == {"mine", ""}
    assert photos.note == ""
    assert scan(tmp_path, trust_split=True) == photos


def test_labelled_photos_are_of_no_split_that_is_not_used(tmp_path: Path) -> None:
    photos = scan(_kaggle(tmp_path))
    labelled = labelled_photos(tmp_path, CLASSES, None, 8)
    assert (labelled.split, labelled.note) == ("", photos.note)
    assert set(labelled.examples.names) == {photo.path for photo in photos.photos}
    with pytest.raises(InputError, match=r"no split 'test', its own one is not used.*--trust-split keeps it"):
        labelled_photos(tmp_path, CLASSES, "test", 8)
    trusted = labelled_photos(tmp_path, CLASSES, "test", 8, trust_split=True).examples
    assert all(name.startswith("test/") for name in trusted.names)
    assert len(trusted) == 24


def test_files_equal_to_those_of_another_split_are_counted_and_stay(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS | {"test/apple": 1, "test/pear": 1})
    before = scan(tmp_path)
    assert before.note == ""
    shutil.copy(tmp_path / "train/apple/0.png", tmp_path / "valid/apple/copy.png")
    shutil.copy(tmp_path / "train/apple/1.png", tmp_path / "test/apple/copy.png")
    shutil.copy(tmp_path / "valid/pear/0.png", tmp_path / "test/pear/copy.png")
    photos = scan(tmp_path)
    assert photos.note == (
        "1 of 5 valid photos are equal to photos of train; "
        "2 of 4 test photos are equal to photos of train or valid: figures are too good"
    )
    assert photos.note in photos.summary()
    assert {photo.path: photo.split for photo in before.photos}.items() <= {
        photo.path: photo.split for photo in photos.photos
    }.items()


def test_a_validation_set_of_copies_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train/apple": 4, "train/pear": 4})
    shutil.copytree(tmp_path / "train", tmp_path / "valid")
    assert scan(tmp_path).note == "8 of 8 valid photos are equal to photos of train: figures are too good"


def test_files_in_two_classes_are_said(tmp_path: Path) -> None:
    write_folder(tmp_path, BARE)
    shutil.copy(tmp_path / "apple/0.png", tmp_path / "pear/0 again.png")
    photos = scan(tmp_path)
    assert photos.note == "2 photos are in two classes, such as 'apple/0.png' and the equal 'pear/0 again.png'"
    assert len({photo.split for photo in photos.photos if "/0" in photo.path and photo.path != "pear/0.png"}) == 1


groups_and_files = st.lists(st.tuples(st.sampled_from(["", "g", "h", "i"]), st.integers(0, 6).map(str)), max_size=12)


@given(groups_and_files)
def test_a_united_group_holds_whole_groups_and_all_equal_files(photos: list[tuple[str, str]]) -> None:
    groups, digests = [group for group, _ in photos], [digest for _, digest in photos]
    united = united_groups(groups, digests)
    graph = _components(photos)
    for a, b in itertools.combinations(range(len(photos)), 2):
        assert (united[a] == united[b]) == (graph[a] == graph[b])


def _components(photos: list[tuple[str, str]]) -> list[int]:
    """The number of each photo's component, found by spreading the smallest number until nothing changes."""
    numbers = list(range(len(photos)))
    for _ in photos:
        for a, b in itertools.product(range(len(photos)), repeat=2):
            if photos[a][1] == photos[b][1] or photos[a][0] == photos[b][0] != "":
                numbers[a] = numbers[b] = min(numbers[a], numbers[b])
    return numbers


@given(groups_and_files)
def test_groups_without_equal_files_in_others_keep_their_names(photos: list[tuple[str, str]]) -> None:
    groups, digests = [group for group, _ in photos], [str(place) for place in range(len(photos))]
    assert united_groups(groups, digests) == [group or digest for group, digest in zip(groups, digests, strict=True)]


def test_where_pomona_splits_equal_files_stay_with_the_group_of_one_of_them(tmp_path: Path) -> None:
    for number in range(10):
        for label in BARE:
            write_photo(tmp_path / label / f"{number}.png", f"{label}{number}")
            shutil.copy(tmp_path / label / f"{number}.png", tmp_path / label / f"copy {number}.png")
    rows = [f"{label}/{number}.png,{label}{number // 2}" for label in BARE for number in range(10)]
    (tmp_path / "manifest.csv").write_text("path,group\n" + "\n".join(rows))
    photos = scan(tmp_path)
    assert photos.note == ""
    assert photos.counts["valid"] == {"apple": 4, "pear": 4}


# As tables and studies made before copies were looked for have it.
FINGERPRINT = "6dc332a7e56ac714"


@needs_data
def test_real_fruit_is_what_studies_on_disk_know() -> None:
    photos = scan(SHARED_DATA / "fruit")
    assert photos.fingerprint == scan(SHARED_DATA / "fruit", trust_split=True).fingerprint == FINGERPRINT
    assert photos.note == ""


def test_a_manifest_without_groups_says_nothing_of_copies(tmp_path: Path) -> None:
    note = scan(_kaggle(tmp_path)).note
    assert "divided anew" in note
    path = next((tmp_path / "train/apple").iterdir()).relative_to(tmp_path).as_posix()
    (tmp_path / "manifest.csv").write_text(f"path,label\n{path},apple\n")
    assert scan(tmp_path).note == note
