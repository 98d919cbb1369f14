from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces import InputError
from training.data.layout import find_photos

from .folders import BARE, TWO_SPLITS, Layout, write_folder, write_photo


def test_splits_and_classes_are_read_from_folders(tmp_path: Path) -> None:
    found = find_photos(write_folder(tmp_path, TWO_SPLITS | {"test/apple": 1, "test/pear": 1})).photos
    assert len(found) == 13
    for photo in found:
        assert photo.path.startswith(f"{photo.split}/{photo.label}/")
        assert photo.group == ""


def test_a_bare_folder_has_no_splits(tmp_path: Path) -> None:
    assert {(p.label, p.split) for p in find_photos(write_folder(tmp_path, BARE)).photos} == {
        ("apple", ""),
        ("pear", ""),
    }


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_other_names_of_valid(tmp_path: Path, name: str) -> None:
    found = find_photos(write_folder(tmp_path, {"train/a": 1, "train/b": 1, f"{name}/a": 1, f"{name}/b": 1})).photos
    assert {photo.split for photo in found} == {"train", "valid"}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    found = find_photos(write_folder(tmp_path, {"train": 2, "bus": 2})).photos
    assert {(p.label, p.split) for p in found} == {("train", ""), ("bus", "")}


def test_hidden_files_and_files_beside_the_class_folders_are_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path, BARE)
    write_folder(tmp_path / "split", TWO_SPLITS)
    for name in ("README.md", "apple/.DS_Store", ".git/HEAD", "split/README.md", "split/train/labels.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(find_photos(tmp_path / "split").photos) == 11
    (tmp_path / "split").rename(tmp_path / ".split")
    assert len(find_photos(tmp_path).photos) == 20


def test_the_manifest_gives_groups_and_splits(tmp_path: Path) -> None:
    rows = "path,label,split,group,source\napple/0.png,apple,train,g1,me\n./pear/0.png,,val,g2,\n"
    found = find_photos(write_folder(tmp_path, {"apple": 1, "pear": 1}, rows)).photos
    assert {(p.label, p.split, p.group) for p in found} == {("apple", "train", "g1"), ("pear", "valid", "g2")}


def test_a_manifest_may_have_a_byte_order_mark_and_say_little(tmp_path: Path) -> None:
    found = find_photos(write_folder(tmp_path, BARE, "\ufeffpath,group\napple/3.png,g\n")).photos
    assert {p.path: p.group for p in found if p.group} == {"apple/3.png": "g"}


@pytest.mark.parametrize(
    ("layout", "manifest", "message"),
    [
        ({}, None, "no class folders"),
        ({"valid/a": 1, "valid/b": 1}, None, "has valid but no train/"),
        ({"train/a": 1, "val/a": 1, "valid/a": 1}, None, "val/ and valid/ .* mean the same"),
        ({"train/a": 1, "train/b": 0}, None, "class folder 'train/b' .* is empty"),
        ({"fruit/train/a": 1}, None, "'fruit' .* holds folders"),
        (BARE, "apple/0.png,apple\n", "no column 'path'"),
        (BARE, "path\nquince/0.png\n", "names 'quince/0.png', which does not exist"),
        (BARE, "path\nmanifest.csv\n", "names 'manifest.csv', which is in no class folder"),
        (BARE, "path,label\napple/0.png,pear\n", "calls 'apple/0.png' 'pear', but its folder says 'apple'"),
        (BARE, "path,split\napple/0.png,third\n", "into split 'third'"),
        (BARE, "path,split\napple/0.png,train\n", "not of 'apple/1.png'"),
        (BARE, "path\napple/0.png\napple/0.png\n", "names 'apple/0.png' twice"),
        (TWO_SPLITS, "path,split\ntrain/apple/0.png,valid\n", "into split 'valid', but its folder says 'train'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, layout: Layout, manifest: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_photos(write_folder(tmp_path, layout, manifest))
    assert "\n" not in str(caught.value)


def test_missing_folder_and_file_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a file"):
        find_photos(write_photo(tmp_path / "photo.png"))


def test_a_manifest_that_is_no_text(tmp_path: Path) -> None:
    write_folder(tmp_path, BARE)
    (tmp_path / "manifest.csv").write_bytes(b"path,label\n\xff\xfe,apple\n")
    with pytest.raises(InputError, match="no table in UTF-8"):
        find_photos(tmp_path)
