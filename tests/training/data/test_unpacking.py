from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search_spaces import InputError
from training.data.photos import scan
from training.data.published.unpacking import unpack_cifar10, unpack_class_folders, unpack_flowers102, unpack_sms_spam
from training.data.texts import read_texts
from training.machine import vision

from .archives import CIFAR_CLASSES, cifar_members, cifar_pixels, flower_files, packed, sms_zip, tgz, write_all
from .folders import files_below

EVIL = {"../evil.png": b"x", "/evil.png": b"x", "cifar-10-batches-py/../../evil.png": b"x"}


def test_cifar_pixels_come_out_as_they_went_in(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "out"
    unpack_cifar10(write_all(tmp_path, c_tgz=tgz(cifar_members())), out, lambda *counts: seen.append(counts))
    assert len(files_below(out)) == 18
    assert seen[-1] == (18, 18)
    for batch, (split, name) in enumerate(
        [*(("train", f"data_batch_{n}") for n in range(1, 6)), ("test", "test_batch")]
    ):
        for row, pixels in enumerate(cifar_pixels(batch, 3)):
            with Image.open(out / split / CIFAR_CLASSES[row] / f"{name}_{row:05d}.png") as image:
                assert np.array_equal(np.asarray(image).transpose(2, 0, 1).reshape(-1), pixels)


def test_what_is_unpacked_can_be_read(tmp_path: Path) -> None:
    unpack_cifar10(write_all(tmp_path, c_tgz=tgz(cifar_members())), tmp_path / "out")
    photos = scan(tmp_path / "out")
    assert photos.classes == CIFAR_CLASSES
    assert photos.counts["test"] == dict.fromkeys(CIFAR_CLASSES, 1)


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    [archive] = write_all(tmp_path, c_tgz=tgz(EVIL | cifar_members()))
    unpack_cifar10([archive], tmp_path / "deep/er/out")
    assert [name for name in files_below(tmp_path) if "evil" in name] == []


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    "change",
    [
        {"cifar-10-batches-py/batches.meta": pickle.dumps({})},
        {"cifar-10-batches-py/batches.meta": pickle.dumps(["airplane"])},
        {"cifar-10-batches-py/batches.meta": pickle.dumps({"label_names": ["../..", "a", "b"]})},
        {"cifar-10-batches-py/batches.meta": pickle.dumps({"label_names": ["too", "few"]})},
        {"cifar-10-batches-py/test_batch": b"x"},
        {"cifar-10-batches-py/test_batch": pickle.dumps(_Harm())},
        {"cifar-10-batches-py/test_batch": pickle.dumps({"data": np.zeros((2, 5)), "labels": [0, 1]})},
    ],
    ids=["no names", "no table", "names that are paths", "too few names", "no pickle", "harm", "other shape"],
)
def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    [archive] = write_all(tmp_path, c_tgz=tgz(cifar_members() | change))
    with pytest.raises(InputError, match=r"c\.tgz does not hold what it should") as caught:
        unpack_cifar10([archive], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


# Named: what is in a gzip file depends on the clock, and processes that share the tests must call them alike.
@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", tgz({}), tgz(cifar_members())[:-200]],
    ids=["empty", "no archive", "no members", "cut off"],
)
def test_half_an_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="does not hold what it should"):
        unpack_cifar10(write_all(tmp_path, c_tgz=content), tmp_path / "out")


def test_flowers_are_named_and_split_as_published(tmp_path: Path) -> None:
    archive, labels, splits = flower_files(9)
    out = tmp_path / "deep/out"
    unpack_flowers102(write_all(tmp_path, f_tgz=archive, l_mat=labels, s_mat=splits), out)
    names = vision.torchvision().datasets.Flowers102.classes
    split_of = {0: "train", 1: "valid", 2: "test"}
    assert files_below(out) == sorted(f"{split_of[n % 3]}/{names[n - 1]}/image_{n:05d}.jpg" for n in range(1, 10))
    assert [name for name in files_below(tmp_path) if "evil" in name] == []


def test_every_kind_of_flower_has_a_folder_of_its_own(tmp_path: Path) -> None:
    archive, labels, splits = flower_files(102)
    unpack_flowers102(write_all(tmp_path, f_tgz=archive, l_mat=labels, s_mat=splits), tmp_path / "out")
    assert len({path.parent.name for path in (tmp_path / "out").rglob("*.jpg")}) == 102


def test_flowers_that_are_missing(tmp_path: Path) -> None:
    archive, _, _ = flower_files(3)
    _, labels, splits = flower_files(9)
    with pytest.raises(InputError, match="3 of 9 photos are there"):
        unpack_flowers102(write_all(tmp_path, f_tgz=archive, l_mat=labels, s_mat=splits), tmp_path / "out")


def test_texts_come_out_as_they_went_in(tmp_path: Path) -> None:
    content = "ham\tsee you — at 8\r\nspam\tWIN £100\n".encode() * 5
    unpack_sms_spam(write_all(tmp_path, s_zip=sms_zip(content)), tmp_path / "out")
    assert files_below(tmp_path / "out") == ["SMSSpamCollection"]
    assert (tmp_path / "out/SMSSpamCollection").read_bytes() == content


def test_texts_that_are_unpacked_can_be_read(tmp_path: Path) -> None:
    unpack_sms_spam(write_all(tmp_path, s_zip=sms_zip()), tmp_path / "out")
    texts = read_texts(tmp_path / "out")
    assert texts.classes == ("ham", "spam")
    assert len(texts.texts) == 20


def test_a_zip_of_other_things_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not hold what it should.*SMSSpamCollection"):
        unpack_sms_spam(write_all(tmp_path, s_zip=sms_zip(name="../SMSSpamCollection")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(st.data())
def test_a_damaged_zip_gives_its_texts_or_a_line(data: st.DataObject) -> None:
    """The only check there is: whatever happened to the file, other texts never come out."""
    content = sms_zip(b"ham\tyes\nspam\tno\n" * 9)
    spoiled = bytearray(content[: data.draw(st.integers(0, len(content)), "kept")])
    for place in data.draw(st.lists(st.integers(0, max(len(spoiled) - 1, 0)), max_size=3), "places"):
        spoiled[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1), "byte")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        try:
            unpack_sms_spam(write_all(Path(folder), s_zip=bytes(spoiled)), out)
        except InputError:
            assert not out.exists()
        else:
            assert (out / "SMSSpamCollection").read_bytes() == b"ham\tyes\nspam\tno\n" * 9


PETS = {"cats": "cat", "dogs": "dog"}


def pet_members() -> dict[str, bytes]:
    names = ["train/cats/cat.0.jpg", "train/dogs/dog.0.JPG", "validation/cats/cat.1.jpeg", "validation/dogs/dog.1.jpg"]
    return {f"cats_and_dogs/{name}": name.encode() for name in names}


def test_class_folders_get_our_names_of_classes_and_splits(tmp_path: Path) -> None:
    odd = ["vectorize.py", "train/cats/../../evil.jpg", "train/birds/bird.jpg", "train/cats/.hidden.jpg", "cats/a.jpg"]
    members = pet_members() | {f"cats_and_dogs/{name}": b"odd" for name in odd}
    unpack_class_folders(write_all(tmp_path, pets_zip=packed(members)), tmp_path / "out", classes=PETS)
    found = {name: (tmp_path / "out" / name).read_bytes() for name in files_below(tmp_path / "out")}
    assert found == {
        "train/cat/cat.0.jpg": b"train/cats/cat.0.jpg",
        "train/dog/dog.0.JPG": b"train/dogs/dog.0.JPG",
        "valid/cat/cat.1.jpeg": b"validation/cats/cat.1.jpeg",
        "valid/dog/dog.1.jpg": b"validation/dogs/dog.1.jpg",
    }
    assert not (tmp_path / "evil.jpg").exists()


def test_class_folders_without_a_class_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    members = {name: content for name, content in pet_members().items() if "validation/dogs" not in name}
    with pytest.raises(InputError, match="no photos of dog"):
        unpack_class_folders(write_all(tmp_path, pets_zip=packed(members)), tmp_path / "out", classes=PETS)
    assert not (tmp_path / "out").exists()
