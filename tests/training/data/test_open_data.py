"""Opening the data of a task: with and without classes and sources of its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import BONUS, CATS_DOGS, FLOWERS, IMAGES, Choice, InputError, Task
from training.data import Kind, open_again, open_data, open_labelled
from training.frozen.prefixes import Prefixes

from .folders import BARE, TWO_SPLITS, write_folder


@pytest.mark.parametrize("task", [FLOWERS, IMAGES], ids=lambda task: task.name)
def test_without_classes_of_its_own_a_task_takes_those_of_the_folder(task: Task, tmp_path: Path) -> None:
    assert open_data(write_folder(tmp_path / "orchard", TWO_SPLITS), task).classes == ("apple", "pear")


def test_a_task_without_a_source_asks_for_a_folder() -> None:
    with pytest.raises(
        InputError, match=r"^task flowers needs --data DIR: a folder of photos.*DIR/<class>/; pomona data get flowers"
    ):
        open_data(None, FLOWERS)
    with pytest.raises(InputError, match=r"^task images needs --data DIR.*DIR/<class>/$"):
        open_data(None, IMAGES)
    with pytest.raises(
        InputError,
        match=r"^task cats_dogs needs --data DIR.* with the classes cat, dog; pomona data get cats_dogs fetches one$",
    ):
        open_data(None, CATS_DOGS)


def test_a_source_may_be_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "orchard", TWO_SPLITS)
    assert open_data(None, replace(IMAGES, sources=(str(folder),))) == open_data(folder, IMAGES)


def test_data_is_opened_again_as_it_was(tmp_path: Path) -> None:
    data = open_data(write_folder(tmp_path / "orchard", BARE), IMAGES)
    assert open_again(data.location, data.classes) == data
    shutil.move(tmp_path / "orchard" / "pear", tmp_path / "orchard" / "plum")
    with pytest.raises(InputError, match="had the classes apple, pear and now has apple, plum"):
        open_again(data.location, data.classes)


def test_a_name_that_stands_for_made_up_data_and_for_a_folder_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "rendered", TWO_SPLITS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"write ./rendered, or rendered:0"):
        open_data("rendered", IMAGES)
    with pytest.raises(InputError, match=r"write ./rendered, or rendered:0"):
        open_labelled("rendered", ("apple", "pear"), Kind(), None, 8)
    assert open_data("./rendered", IMAGES) == open_data(Path("rendered"), IMAGES) == open_data(folder, IMAGES)


def test_the_classes_of_a_task_have_no_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "orchard", TWO_SPLITS)
    assert open_data(folder, replace(IMAGES, classes=("pear", "apple"))).classes == ("apple", "pear")
    with pytest.raises(InputError, match="has the classes pear, plum, but orchard has apple, pear"):
        open_data(folder, replace(IMAGES, classes=("pear", "plum")))


def test_a_table_s_network_takes_as_many_features_as_there_are_columns(tmp_path: Path) -> None:
    task = replace(BONUS, name="rent", columns=("rooms", "square_metres", "floor", "year", "rent"))
    with pytest.raises(
        InputError,
        match=r"^task rent has 4 features \(rooms, .*, year\), but its backbone is table:3: make it table:4$",
    ):
        open_data(tmp_path / "is not looked at.csv", task)
    file = tmp_path / "rent.csv"
    file.write_text("\n".join([",".join(task.columns), *(f"{n},{n % 7},{n % 5},{n},{n}" for n in range(20))]))
    fitting = task.with_space(task.space.replace(backbone=Choice("table:4")))
    splits = open_data(file, fitting).at(0)
    assert Prefixes().fitted_to(splits).backbone("table:4").widths == (4,)
    with pytest.raises(InputError, match=r"rent\.csv does not fit the first stage of table:3"):
        Prefixes().fitted_to(splits).backbone("table:3")
