"""What `manifest.csv` may look like, and labels that only it knows."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from training.data.layout import Contents, find_photos
from training.data.manifest import read_manifest
from training.data.photos import labelled_photos, scan

from .folders import BARE, TWO_SPLITS, Layout, write_folder, write_photo

FLAT: Layout = {"images": 10}


def _labels(where: str = "images", count: int = 10) -> str:
    return "".join(f"{where}/{number}.png,{('apple', 'pear')[number % 2]}\n" for number in range(count))


def test_the_manifest_gives_groups_and_splits(tmp_path: Path) -> None:
    rows = "path,label,split,group,source\napple/0.png,apple,TRAIN,g1,me\n./pear/0.png,,Val,g2,\n"
    contents = find_photos(write_folder(tmp_path, {"apple": 1, "pear": 1}, rows))
    assert {(p.label, p.split, p.group) for p in contents.photos} == {
        ("apple", "train", "g1"),
        ("pear", "valid", "g2"),
    }
    assert contents.notes == ()


@pytest.mark.parametrize(
    "manifest",
    [
        "\ufeffpath,group\napple/3.png,g\n",
        "Path , GROUP\n apple/3.png , g \n",
        'PATH,"Group"\n"apple/3.png","g"\n',
        "group_id;File Name\ng;apple/3.png\n",
        "filename\tgroup\r\napple/3.png\tg\r\n\r\n\t\r\n",
        "sep=;\nimage;group\napple\\3.png;g\n",
        "path,group,\n.\\apple\\3.png,g,,\n",
    ],
)
def test_headers_delimiters_and_paths_in_other_forms(tmp_path: Path, manifest: str) -> None:
    contents = find_photos(write_folder(tmp_path, BARE, manifest))
    assert {p.path: p.group for p in contents.photos if p.group} == {"apple/3.png": "g"}
    assert contents.notes == ()


def test_a_manifest_in_capitals_with_absolute_paths(tmp_path: Path) -> None:
    write_folder(tmp_path, BARE)
    (tmp_path / "Manifest.CSV").write_text(f"path,group\n{tmp_path}/apple/3.png,g\n")
    assert {p.path: p.group for p in find_photos(tmp_path).photos if p.group} == {"apple/3.png": "g"}


names = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n\\/"), min_size=1, max_size=8)


@given(
    st.dictionaries(names.filter(lambda n: n == n.strip() and n not in (".", "..")), names), st.sampled_from(",;\t|")
)
def test_what_a_csv_writer_wrote_is_read(
    tmp_path_factory: pytest.TempPathFactory, groups: dict[str, str], by: str
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    text = io.StringIO()
    writer = csv.writer(text, delimiter=by)
    writer.writerows([("Path", "Group"), *groups.items()])
    (folder / "manifest.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    rows = read_manifest(folder).rows
    assert {path: row.group for path, row in rows.items()} == {name: group.strip() for name, group in groups.items()}


def test_columns_that_mean_nothing_are_named(tmp_path: Path) -> None:
    contents = find_photos(write_folder(tmp_path, BARE, "path,camera,group,,day\napple/0.png,nikon,g,1,2\n"))
    assert contents.notes == ("manifest.csv has columns that are not used: 'camera', 'day'",)


def test_a_column_that_class_folders_contradict_is_no_label_unless_called_so(tmp_path: Path) -> None:
    rows = "".join(f"{label}/{n}.png,{i}\n" for i, label in enumerate(BARE) for n in range(10))
    contents = find_photos(write_folder(tmp_path, BARE, f"path,class\n{rows}"))
    assert {photo.label for photo in contents.photos} == {"apple", "pear"}
    assert contents.notes == ("column 'class' of manifest.csv is not used, as class folders name the classes",)


@pytest.mark.parametrize(
    ("layout", "manifest", "message"),
    [
        (BARE, "apple/0.png,apple\n", "no column 'path'"),
        (BARE, "name,label\napple/0.png,apple\n", "no column 'path' but 'name'"),
        (BARE, "file,image\na,b\n", "has columns 'file' and 'image' for path: keep one"),
        (BARE, "path\nquince/0.png\n", "names 'quince/0.png', which does not exist: correct"),
        (BARE, "path\nmanifest.csv\n", "names 'manifest.csv', which is in no class folder"),
        (BARE, "path,label\napple/0.png,pear\n", "calls 'apple/0.png' 'pear', but its folder says 'apple'"),
        (BARE, "path,split\napple/0.png,third\n", "into split 'third'"),
        (BARE, "path,split\napple/0.png,train\n", "not of 'apple/1.png'"),
        (BARE, "path\napple/0.png\n./apple/0.png\n", "names 'apple/0.png' twice"),
        (BARE, "path,group\n,g\n", "line 2 names no path"),
        (BARE, "path,group\n./,g\n", "line 2 names the folder itself"),
        (FLAT, f"path,label\n{_labels()}images/..,pear\n", "line 12 names the folder itself"),
        (BARE, "path,group\napple/0.png,a,b\n", "line 2: 3 cells, but 2 columns"),
        (BARE, 'path,group\n"apple/0.png,a\napple/1.png,b\n', "no table in UTF-8: unexpected end of data"),
        (TWO_SPLITS, "path,split\ntrain/apple/0.png,valid\n", "into split 'valid', but its folder says 'train'"),
        (FLAT, f"path,label\n{_labels()}gone.png,pear\n", "names 'gone.png', which does not exist"),
        (FLAT, f"path,label\n{_labels()}../up.png,pear\n", "names '../up.png', which is not below"),
        (FLAT, f"path,label\n{_labels()}images,pear\n", "names 'images', which does not exist"),
        (FLAT, "path,label,split\nimages/0.png,a,train\nimages/1.png,b,\n", "not of 'images/1.png'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, layout: Layout, manifest: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_photos(write_folder(tmp_path, layout, manifest))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    write_folder(tmp_path, BARE)
    (tmp_path / "manifest.csv").write_bytes("path,label\napple/0.png,café\n".encode(encoding))
    with pytest.raises(InputError, match=r"no table in UTF-8.*: save it as CSV in UTF-8"):
        find_photos(tmp_path)


def test_paths_that_begin_with_the_folder_itself(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", FLAT, f"path,label\n{_labels('data/images')}")
    with pytest.raises(InputError, match=r"paths are relative to the folder of manifest\.csv, leave data/ out"):
        find_photos(tmp_path / "data")


def _splits(contents: Contents) -> dict[str, int]:
    splits = [photo.split for photo in contents.photos]
    return {split: splits.count(split) for split in sorted(set(splits))}


@pytest.mark.parametrize("where", ["", "images", "a/b/c", "images/0"])
def test_labels_of_the_manifest_need_no_class_folders(tmp_path: Path, where: str) -> None:
    for number in range(10):
        write_photo(tmp_path / where / f"{number}.png", str(number))
    (tmp_path / "manifest.csv").write_text(f"Path; Label\n{_labels(where or '.').replace(',', ';')}")
    photos = scan(tmp_path)
    assert photos.classes == ("apple", "pear")
    assert photos.counts == {"train": {"apple": 4, "pear": 4}, "valid": {"apple": 1, "pear": 1}}
    assert photos.note == ""
    assert len(photos.at(8).train) == 8
    assert len(labelled_photos(tmp_path, ("apple", "pear"), None, 8).examples) == 10


def test_photos_that_the_manifest_does_not_name_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, FLAT | {"more": 2}, f"file,class,by\n{_labels(count=9)}")
    (tmp_path / "more" / "again").symlink_to(tmp_path)
    assert find_photos(tmp_path).notes == (
        "manifest.csv has columns that are not used: 'by'",
        "not used, as manifest.csv does not name them: 3 photos, such as 'images/9.png'",
    )


def test_splits_of_listed_photos_are_the_columns_or_the_folders(tmp_path: Path) -> None:
    write_folder(tmp_path, {"Train": 6, "val": 4}, f"path,label\n{_labels('Train', 6)}{_labels('val', 4)}")
    assert _splits(find_photos(tmp_path)) == {"train": 6, "valid": 4}
    rows = _labels(count=6).replace("\n", ",Training\n") + "images/6.png,apple,dev\nimages/7.png,pear,VAL\n"
    by_column = find_photos(write_folder(tmp_path / "column", FLAT, f"path,label,split\n{rows}"))
    assert _splits(by_column) == {"train": 6, "valid": 2}


def test_nested_class_folders_with_labels_of_the_manifest(tmp_path: Path) -> None:
    rows = _labels("apple/day 1", 4) + _labels("pear", 4)
    contents = find_photos(write_folder(tmp_path, {"apple/day 1": 4, "pear": 4}, f"path,label\n{rows}"))
    assert len(contents.photos) == 8


def test_altered_copies_that_the_manifest_lists_without_groups_are_grouped_by_name(tmp_path: Path) -> None:
    for number in range(10):
        for prefix in ("", "rotated_by_15_"):
            write_photo(tmp_path / f"{prefix}{number}.png", f"{prefix}{number}")
    rows = [f"{p}{n}.png,{('apple', 'pear')[n % 2]}" for n in range(10) for p in ("", "rotated_by_15_")]
    (tmp_path / "manifest.csv").write_text("path,label\n" + "\n".join(rows))
    photos = scan(tmp_path)
    assert len({photo.group for photo in photos.photos}) == 10
    assert photos.counts["valid"] == {"apple": 2, "pear": 2}


def test_photos_of_which_none_is_in_train(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the photos are in valid, and none is in train"):
        scan(write_folder(tmp_path, FLAT, "path,label,split\n" + _labels().replace("\n", ",valid\n")))


@pytest.mark.parametrize("columns", ["path,group", "path,class"])
@pytest.mark.parametrize("file", ["p\u00eache", "\u212bngstr\u00f6m"])
def test_a_path_may_have_accents_in_several_forms(tmp_path: Path, columns: str, file: str) -> None:
    """As where only the folder comes from a Mac, or a letter is written in neither of the two forms."""
    folders = {label: unicodedata.normalize("NFD", label) for label in ("caf\u00e9", "th\u00e9")}
    lines = []
    for label, folder in folders.items():
        for number in range(5):
            write_photo(tmp_path / folder / f"{file}{number}.png", f"{label}{number}")
            lines.append(unicodedata.normalize("NFC", f"{label}/{file}{number}.png") + f",{label}{number % 2}")
    (tmp_path / "manifest.csv").write_text("\n".join([columns, *lines]), encoding="utf-8")
    contents = find_photos(tmp_path)
    assert {photo.label for photo in contents.photos} == {*folders.values()}
    if columns == "path,group":
        assert {photo.group for photo in contents.photos} == {f"{label}{n}" for label in folders for n in (0, 1)}
    else:
        assert "column 'class' of manifest.csv is not used" in contents.notes[0]
    again = unicodedata.normalize("NFD", lines[0])
    (tmp_path / "manifest.csv").write_text("\n".join([columns, *lines, again]), encoding="utf-8")
    with pytest.raises(InputError, match="twice"):
        find_photos(tmp_path)


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_accents_of_file_names_may_be_written_in_either_form(tmp_path: Path, on_disk: str, written: str) -> None:
    names = [f"{label}/p\u00eache{number}.png" for label in ("a", "b") for number in range(10)]
    for number, name in enumerate(names):
        write_photo(tmp_path / unicodedata.normalize(on_disk, name), str(number))
    lines = [f"{unicodedata.normalize(written, name)},g{number // 2}" for number, name in enumerate(names)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,group", *lines]), encoding="utf-8")
    assert len({photo.group for photo in scan(tmp_path).photos}) == 10
