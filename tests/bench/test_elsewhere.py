"""Photos elsewhere are of the task's classes, and are none of its own."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench.elsewhere import TAKEN_ELSEWHERE, elsewhere_of
from search_spaces import task_named
from training import open_data
from training.data import Kind, Labelled, open_labelled

from ..training.data.folders import write_photo
from ..training.data.test_idx import folder_of


def opened(name: str, folder: Path) -> Labelled:
    task = task_named(name)
    assert task.classes is not None
    return open_labelled(str(folder), task.classes, Kind.of(task), None, 32)


def test_fruit_has_its_own_and_most_tasks_have_none(tmp_path: Path) -> None:
    assert elsewhere_of("fruit", tmp_path, tmp_path / "given", tmp_path / "made") == tmp_path / "given"
    assert elsewhere_of("flowers", tmp_path, tmp_path / "given", tmp_path / "made") is None
    assert not (tmp_path / "made").exists()
    assert "fruit" not in TAKEN_ELSEWHERE


@pytest.mark.parametrize(("name", "theirs"), [("cats_dogs", "cifar10"), ("cifar10", "cats_dogs")])
def test_cats_and_dogs_are_those_of_all_splits_and_nothing_else(tmp_path: Path, name: str, theirs: str) -> None:
    for split, animal in itertools.product(("train", "valid"), ("cat", "dog", "frog")):
        # One name in both splits.
        write_photo(tmp_path / theirs / split / animal / "1.png", f"{split} {animal}")
    folder = elsewhere_of(name, tmp_path, tmp_path, tmp_path / "made")
    assert folder == tmp_path / "made"
    made = sorted((path.parent.name, path.read_bytes()) for path in folder.glob("*/*"))
    all_of_them = (tmp_path / theirs).glob("*/*/*")
    assert made == sorted((path.parent.name, path.read_bytes()) for path in all_of_them if path.parent.name != "frog")
    assert len(opened(name, folder).examples) == 4


def test_pieces_of_clothing_are_test_images_of_the_same_class(tmp_path: Path) -> None:
    data = open_data(folder_of(tmp_path / "fashion", kind="FashionMNIST"), task_named("fashion_transfer"))
    test = data.at(28).test
    assert test is not None
    folder = elsewhere_of("clothing", tmp_path, tmp_path, tmp_path / "made")
    assert folder is not None
    theirs = {"Dress": "dress", "Sneaker": "shoes", "T-shirt/top": "t-shirt", "Trouser": "pants"}
    named = [theirs.get(data.classes[label]) for label in test.labels.tolist()]
    grey = test.take(torch.arange(len(test)))[0].squeeze(-1).numpy()
    expected = sorted((name, image.tobytes()) for name, image in zip(named, grey, strict=True) if name)
    made = sorted((path.parent.name, Image.open(path).tobytes()) for path in folder.glob("*/*.png"))
    # Two of the twenty are of each class.
    assert made == expected
    assert len(made) == 8
    assert len(opened("clothing", folder).examples) == 8
