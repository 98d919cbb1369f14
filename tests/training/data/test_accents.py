"""Names with accents, which one editor writes as parts of letters and another as characters of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomona import onnx_predict
from search_spaces import IMAGES, SMS_SPAM, InputError, Task
from training.data import Kind, open_again, open_data, open_labelled
from training.data.accents import composed, written_as
from training.data.tables import read_features

from ...trained import LEVEL
from .folders import write_photo

CAFE = normalize("NFC", "caf\u00e9")
APART = normalize("NFD", CAFE)
Labels = Sequence[str]


def listed(folder: Path, labels: Labels) -> Path:
    for number in range(len(labels)):
        write_photo(folder / "all" / f"{number}.png", str(number))
    rows = [f"all/{number}.png,{label}" for number, label in enumerate(labels)]
    (folder / "manifest.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    return folder


def texts(folder: Path, labels: Labels) -> Path:
    folder.mkdir()
    lines = [f"{label}\ttext number {number}" for number, label in enumerate(labels)]
    (folder / "texts.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "texts.tsv"


def table(folder: Path, labels: Labels) -> Path:
    folder.mkdir()
    rows = [f"{number},{number % 7},{label}" for number, label in enumerate(labels)]
    (folder / "t.csv").write_text("\n".join([",".join(LEVEL.columns), *rows]), encoding="utf-8")
    return folder / "t.csv"


sources = pytest.mark.parametrize(
    ("make", "task"),
    [(listed, IMAGES), (texts, replace(SMS_SPAM, metric="accuracy", classes=())), (table, LEVEL)],
    ids=["manifest", "texts", "table"],
)


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_names_are_written_as_the_known_ones_that_read_the_same(known: list[str], names: list[str]) -> None:
    written = written_as(known, names)
    assert [*map(composed, written)] == [*map(composed, names)]
    for name, found in zip(names, written, strict=True):
        assert (found in known) == (composed(name) in map(composed, known))
        assert found == name or name not in known


@sources
def test_a_label_in_both_forms_is_one_class(tmp_path: Path, make: Callable[[Path, Labels], Path], task: Task) -> None:
    source = make(tmp_path / "data", [CAFE, APART, "dog"] * 10)
    for classes in ((), (APART, "dog"), (CAFE, "dog")):
        data = open_data(source, replace(task, classes=classes))
        assert data.classes == (CAFE, "dog")
        assert sum(counts[CAFE] for counts in data.counts.values()) == 20
    with pytest.raises(InputError, match="has the classes cat, dog, but"):
        open_data(source, replace(task, classes=("cat", "dog")))


@sources
@pytest.mark.parametrize("known", [(CAFE, "dog"), ("dog", APART)])
def test_a_model_s_classes_may_be_in_either_form(
    tmp_path: Path, make: Callable[[Path, Labels], Path], task: Task, known: tuple[str, ...]
) -> None:
    source = str(make(tmp_path / "data", [APART, CAFE, "dog"] * 5))
    labels = open_labelled(source, known, Kind.of(task), None, 8).examples.labels.tolist()
    assert sorted(labels) == sorted([known.index("dog"), *[1 - known.index("dog")] * 2] * 5)
    with pytest.raises(InputError, match="none of"):
        open_labelled(source, ("cat", "dog"), Kind.of(task), None, 8)


@sources
def test_data_is_opened_again_whose_classes_were_in_the_other_form(
    tmp_path: Path, make: Callable[[Path, Labels], Path], task: Task
) -> None:
    data = open_data(make(tmp_path / "data", [APART, "dog"] * 10), task)
    assert open_again(data.location, (APART, "dog"), Kind.of(task)).fingerprint == data.fingerprint


def test_class_folders_keep_their_names(tmp_path: Path) -> None:
    for label in (APART, "dog"):
        for number in range(5):
            write_photo(tmp_path / label / f"{number}.png", f"{label}{number}")
    data = open_data(tmp_path, replace(IMAGES, classes=(CAFE, "dog")))
    assert data.classes == (APART, "dog")
    assert open_again(data.location, data.classes).classes == data.classes
    rows = [f"{label}/{number}.png,{label}" for label in (CAFE, "dog") for number in range(5)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    assert open_data(tmp_path, IMAGES).fingerprint == data.fingerprint


@pytest.mark.parametrize(("written", "asked"), [(CAFE, APART), (APART, CAFE)])
def test_a_column_is_found_in_either_form(tmp_path: Path, written: str, asked: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"{written},y\n1,2\n", encoding="utf-8")
    assert read_features(file, [asked, "y"]).tolist() == onnx_predict._read_table(file, [asked, "y"]) == [[1, 2]]
