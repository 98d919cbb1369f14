from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from search_spaces import InputError
from training.data.layout import arrange_photos, find_photos
from training.data.photos import scan
from training.data.split_names import split_of

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


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train", "Training", "TRAIN", "train_set", "trainset", "training-images", "images_train"]),
        ("valid", ["val", "Validation", "VALID", "dev", "Development", "eval", "val_set", "Dev Set", "Validación"]),
        ("test", ["Test", "testing", "test_set", "testset", "Test Images", "test-photos", "test_data"]),
        (None, ["holdout", "unlabeled", "images", "set", "train_valid", "train2", "latest", "contest", "", "evalue"]),
    ],
)
def test_usual_names_of_splits_in_any_case(split: str | None, names: list[str]) -> None:
    assert {name: split_of(name) for name in names} == dict.fromkeys(names, split)


@pytest.mark.parametrize("name", ["Val", "validation", "DEV", "testing"])
def test_split_folders_under_other_names(tmp_path: Path, name: str) -> None:
    contents = find_photos(write_folder(tmp_path, {"Train/a": 1, "Train/b": 1, f"{name}/a": 1, f"{name}/b": 1}))
    assert {photo.split for photo in contents.photos} == {"train", split_of(name)}
    assert contents.notes == ()


def test_what_lies_beside_train_and_is_not_used_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_SPLITS | {"holdout/apple": 1, "unlabeled": 2, "test": 1, "__MACOSX/train/apple": 1})
    write_photo(tmp_path / "loose.png")
    write_photo(tmp_path / "train" / "stray.JPG.png")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "read.me").touch()
    (tmp_path / "train" / "apple" / "Thumbs.db").touch()
    contents = find_photos(tmp_path)
    assert len(contents.photos) == 11
    (note,) = contents.notes
    for name in ("'holdout/'", "'unlabeled/' (no class folders)", "'test/' (no class folders)", "and 2 more"):
        assert name in note
    assert arrange_photos(tmp_path).note == note
    for folder in ("holdout", "unlabeled", "test"):
        shutil.rmtree(tmp_path / folder)
    assert find_photos(tmp_path).notes == (
        "not used: 1 photo outside class folders, such as 'loose.png', "
        "1 photo outside class folders, such as 'train/stray.JPG.png'",
    )


def test_photos_beside_bare_class_folders_are_named(tmp_path: Path) -> None:
    write_photo(write_folder(tmp_path, BARE) / "x.jpeg.png")
    assert find_photos(tmp_path).notes == ("not used: 1 photo outside class folders, such as 'x.jpeg.png'",)


def test_links_that_work_are_followed(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", {"train/apple": 2, "train/pear": 2})
    write_folder(tmp_path / "elsewhere", {"apple": 1, "pears": 1})
    (tmp_path / "photos/val").mkdir()
    for name, target in (("apple", "apple"), ("pear", "pears")):
        (tmp_path / "photos/val" / name).symlink_to(tmp_path / "elsewhere" / target)
    assert {(p.split, p.label) for p in find_photos(tmp_path / "photos").photos if p.split == "valid"} == {
        ("valid", "apple"),
        ("valid", "pear"),
    }


@pytest.mark.parametrize("where", ["quince", "train/quince", "val"])
@pytest.mark.parametrize("target", ["nowhere", "."])
def test_a_link_that_leads_nowhere_or_to_itself_is_refused(tmp_path: Path, where: str, target: str) -> None:
    write_folder(tmp_path, {"train/apple": 1, "train/pear": 1})
    link = tmp_path / where
    link.symlink_to(link if target == "." else target)
    with pytest.raises(InputError, match=rf"{where}' is a link that can't be followed .*: fix or remove it$"):
        find_photos(tmp_path)


def test_a_loop_of_folders_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path, {"apple": 1, "pear": 1})
    (tmp_path / "pear/all").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"'pear' .* holds folders"):
        find_photos(tmp_path)
    (tmp_path / "me").symlink_to(tmp_path / "me")
    with pytest.raises(InputError, match="no folder"):
        scan(tmp_path / "me")


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, BARE)
    whole = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "pear":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"cannot read '.*pear': Permission denied"):
        find_photos(tmp_path)


def test_a_pipe_among_the_photos_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(write_folder(tmp_path, BARE) / "pear" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png' is neither a file nor a folder"):
        find_photos(tmp_path)


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


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "no class folders"),
        ({"valid/a": 1, "valid/b": 1}, "has valid but no train/"),
        ({"train/a": 1, "val/a": 1, "valid/a": 1}, "val/ and valid/ .* mean the same"),
        ({"train/a": 1, "train/b": 0}, "class folder 'train/b' .* is empty"),
        ({"train/a": 1, "Valid/a": 1, "dev/a": 1}, "Valid/ and dev/ .* mean the same"),
        ({"fruit/train/a": 1}, "'fruit' .* holds folders: .*; if it is the data set, give '.*/fruit'"),
        ({"fruit/a": 1, "fruit/b": 1}, "'fruit' .* holds folders: .* give '.*/fruit'"),
        ({"train/images/a": 1, "val/images/a": 1}, "'train/images' .* must lie directly in class folders$"),
        ({"a": 1, "b/c": 1}, "'b' .* holds folders: photos must lie directly in class folders$"),
        ({"train/a": 1, "train/b": 1, "holdout/A": 1}, "holdout/ .* has the classes of train/, .* rename it"),
        ({"train/a": 1, "train/b": 1, "val": 2}, "val/ .* holds no class folders: sort its photos"),
        ({"train": 2, "val/a": 1}, "has val but train/ holds no class folders"),
        ({"train": 2, "test": 2}, "test/ and train/ .* hold no class folders"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, layout: Layout, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_photos(write_folder(tmp_path, layout))
    assert "\n" not in str(caught.value)


def test_missing_folder_and_file_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a file"):
        find_photos(write_photo(tmp_path / "photo.png"))
