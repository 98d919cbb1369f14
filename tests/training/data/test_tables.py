"""Tables as splits: by row, standardised by the training rows, and what is wrong with a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from pomona import onnx_predict
from search_spaces import InputError
from training.data.csv_rows import read_cells
from training.data.splits import Split, Splits
from training.data.tables import TableSet, generate_bonus, read_features, read_table
from training.models.backbones import table

from ...shared import SHARED_DATA, needs_data

COLUMNS = ("performance", "years_of_experience", "projects_completed", "bonus")


def written(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = ("a", "b", "y")) -> Path:
    path.write_text("\n".join(",".join(str(cell) for cell in row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def standardisation(splits: Splits) -> Mapping[str, torch.Tensor]:
    assert splits.fitted is not None
    return splits.fitted


def inputs(split: Split) -> torch.Tensor:
    return split.take(torch.arange(len(split)))[0]


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.sampled_from([0.0, -0.0, 0.5])), min_size=10, max_size=60),
    st.booleans(),
    st.integers(0, 5),
)
def test_equal_rows_are_on_one_side_and_every_row_on_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]], numeric: bool, seed: int
) -> None:
    assume(len(set(rows)) > 1)
    file = written(tmp_path_factory.mktemp("table") / "t.csv", [(*row, n % 2) for n, row in enumerate(rows)])
    try:
        data = read_table(file, ("a", "b", "y"), numeric=numeric, seed=seed)
    except InputError:
        # Not every draw of a class has rows for both sides; numbers have no such excuse.
        if numeric:
            raise
        reject()
    splits = data.at(0)
    train, valid = splits.train, splits.valid
    assert sorted([*train.rows.tolist(), *valid.rows.tolist()]) == list(range(len(rows)))
    assert len(train) > 0
    assert len(valid) > 0
    assert not set(train.keys) & set(valid.keys)
    assert not {rows[n] for n in train.rows.tolist()} & {rows[n] for n in valid.rows.tolist()}
    assert sum(sum(counts.values()) for counts in data.counts.values()) == len(rows)


def test_standardisation_is_of_the_training_rows_alone() -> None:
    data = generate_bonus(200)
    valid = data.rows["valid"]
    features = data.features.copy()
    features[valid] += 1_000
    for name, tensor in standardisation(replace(data, features=features).at(0)).items():
        assert torch.equal(tensor, standardisation(data.at(0))[name])
    features[data.rows["train"]] += 1
    assert not torch.equal(
        standardisation(replace(data, features=features).at(0))["mean"], standardisation(data.at(0))["mean"]
    )


def test_the_first_stage_of_the_backbone_takes_what_was_fitted() -> None:
    data = generate_bonus(200)
    features = np.concatenate([data.features, np.full((200, 1), 7, np.float32)], axis=1)
    splits = replace(data, features=features).at(0)
    (stage,) = table.parts(4).stages
    before = inputs(splits.train)
    assert torch.equal(stage(before), before)
    stage.load_state_dict(standardisation(splits))
    found = stage(before)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert torch.equal(stage(inputs(splits.valid))[:, 3], torch.zeros(len(splits.valid)))


def test_a_table_is_a_backbone_without_parameters() -> None:
    assert table.shape_of("table:3") == 3
    assert [table.shape_of(name) for name in ("table:0", "table:", "table:3x3", "pixels:1x2x3")] == [None] * 4
    parts = table.parts(3)
    assert parts is not None
    assert (len(parts.stages), parts.widths, parts.preprocessing) == (1, (3,), None)
    assert not list(parts.stages[0].parameters())
    assert parts.stages[0].state_dict().keys() == {"mean", "std"}
    rows = torch.rand(2, 3)
    assert torch.equal(parts.pool(parts.stages[0](rows)), rows)


def test_cells_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [(n, 0.5 * n, 3 * n) for n in range(20)]
    plain = read_table(written(tmp_path / "t.csv", rows), ("a", "b", "y"), numeric=True)
    assert plain.features.tolist() == [[a, b] for a, b, _ in rows]
    assert plain.targets.tolist() == [y for _, _, y in rows]
    assert plain.names[0] == "t.csv line 2"
    assert plain.counts == {"train": {"rows": 16}, "valid": {"rows": 4}}
    assert (plain.source, plain.location) == ("t.csv", str((tmp_path / "t.csv").resolve()))
    # With columns that nobody asked for, in another order, quoted, with a mark of the byte order, and empty lines.
    other = tmp_path / "folder" / "t.CSV"
    other.parent.mkdir()
    lines = ["y , other,b,a", *(f'{y},"of {a}\n lines", {b},"{a}"\n' for a, b, y in rows)]
    other.write_text("\n".join(lines), encoding="utf-8-sig")
    same = read_table(other.parent, ("a", "b", "y"), numeric=True)
    assert np.array_equal(same.features, plain.features)
    assert same.fingerprint == plain.fingerprint
    assert same.names[:2] == ("t.CSV line 2", "t.CSV line 5")
    assert torch.equal(read_features(other, ("a", "b")), torch.from_numpy(plain.features))


@pytest.mark.parametrize("header", ["A,B,Y", " a ,'b',y", '"A" , b,"y "', "\ufeffa,b,y", "a,b,y,B", "a,b,y,note,a b"])
def test_columns_are_found_in_any_case_and_others_are_named(tmp_path: Path, header: str) -> None:
    header = header.replace("'", "").replace('" ,', '",')
    count = header.count(",") + 1
    rows = ["1,2,3,4,5", "2,3,4,5,6", "3,4,5,6,7"] * 2
    (tmp_path / "t.csv").write_text("\n".join([header, *(",".join(row.split(",")[:count]) for row in rows)]))
    data = read_table(tmp_path, ("a", "b", "y"), numeric=True)
    assert data.features.tolist() == [[1, 2], [2, 3], [3, 4]] * 2
    unused = [name.strip() for name in header.split(",")[3:]]
    assert ("columns not used: " + ", ".join(unused) in data.summary()) == bool(unused)


def test_blanks_in_names_are_as_good_as_underscores(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Performance,Years of  Experience,projects-completed\n1,2,3\n")
    assert read_features(tmp_path, COLUMNS[:-1]).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sep=,\na,b,y\n1,2,3\n", 3),
        ("\ufeffsep=;\r\na;b;y\r\n1;2;3\r\n", 3),
        ("\n\na,b,y\n1,2,3\n", 4),
        (" , ,\r\na,b,y\r\n1,2,3\r\n", 3),
        ('sep=\t\n\n"a"\tb\ty\n1\t2\t3\n', 4),
    ],
)
def test_what_stands_before_the_header_is_no_header(tmp_path: Path, text: str, first: int) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text, encoding="utf-8", newline="")
    assert read_cells(file, ("a", "b", "y")).rows == [(first, ["1", "2", "3"])]
    assert onnx_predict._read_table(file, ("a", "b", "y")) == [[1, 2, 3]]


def test_classes_are_the_values_of_the_target(tmp_path: Path) -> None:
    rows = [(n, -n, ("yes", "no", "no")[n % 3]) for n in range(30)]
    data = read_table(written(tmp_path / "t.csv", rows), ("a", "b", "y"), numeric=False)
    assert data.classes == ("no", "yes")
    splits = data.at(0)
    assert [*splits.train.labels.tolist(), *splits.valid.labels.tolist()].count(1) == 10
    _, labels = splits.valid.take(torch.arange(len(splits.valid)))
    assert labels.dtype == torch.int64
    assert [data.classes[label] for label in labels] == [rows[n][2] for n in splits.valid.rows.tolist()]
    assert data.counts["valid"] == {"no": 4, "yes": 2}
    assert data.counts["train"] == {"no": 16, "yes": 8}


def test_a_fingerprint_changes_with_contents_columns_and_split() -> None:
    data = generate_bonus(50)
    changed = [
        replace(data, features=data.features + np.float32(1)),
        replace(data, targets=data.targets + np.float32(1)),
        replace(data, columns=("a", *data.columns[1:])),
        replace(data, rows={"train": data.rows["valid"], "valid": data.rows["train"]}),
        generate_bonus(50, seed=1),
    ]
    assert len({one.fingerprint for one in (data, *changed)}) == len(changed) + 1
    assert data.fingerprint == generate_bonus(50).fingerprint == data.at(64).fingerprint


BAD: dict[str, tuple[str, str]] = {
    "column": ("a,c,y\n1,2,3\n", r"line 1: no column 'b', there are a, c, y"),
    "twice": ("a,b,b,y\n1,2,2,3\n", r"line 1: several columns 'b'"),
    "word": ("a,b,y\n1,2,3\n1,two,3\n", r"line 3: b is 'two'"),
    "empty": ("a,b,y\n1,,3\n", r"line 2: b is ''"),
    "nan": ("a,b,y\n1,nan,3\n", r"line 2: b is 'nan'"),
    "thousands": ('a,b,y\n1,"1,000",3\n', r"line 2: b is '1,000', no finite number: write it without commas"),
    "comma": ('a,b,y\n1,"1,5",3\n', r"line 2: b is '1,5', no finite number: write it without commas"),
    "underscore": ("a,b,y\n1,1_000,3\n", r"line 2: b is '1_000'"),
    "boolean": ("a,b,y\n1,True,3\n", r"line 2: b is 'True'"),
    "overflow": ("a,b,y\n1,1e999,3\n", r"line 2: b is '1e999'"),
    "semicolons": ("a;b;y\n1;2;3\n", r"line 1: no column 'a', the cells are separated by ';': save it with commas"),
    "tabs": ("a\tb\ty\n1\t2\t3\n", r"line 1: no column 'a', the cells are separated by '.t': save"),
    "semicolons and a comma": ("a;b,c;y\n1;2;3\n", r"line 1: no column 'a', the cells are separated by ';': save it"),
    "a bar in a name": ("a|m,b,y\n1,2,3\n", r"line 1: no column 'a', there are a.m, b, y"),
    "after empty lines": ("\n\nc,b,y\n1,2,3\n", r"line 3: no column 'a', there are c, b, y"),
    "quote as separator": ('sep="\na,b,y\n1,2,3\n', r"line 1: no column 'a', there are sep="),
    "open quote": ('a,b,y,who\n1,2,3,"Al\n2,3,4,"Bo"\n3,4,5,Cy\n', r"line 2 can't be read as CSV"),
    "two cases": ("A,b,B ,y\n1,1,2,3\n1,2\n", r"line 3: 2 cells"),
    "no case": ("a,B,b_,y\n", r"no rows"),
    "equal but for case": ("a,B,\u00a0B,y\n", r"line 1: several columns 'b'"),
    "huge": ("a,b,y\n1,1e39,3\n", r"line 2: b is '1e39'"),
    "target": ("a,b,y\n1,2,inf\n", r"line 2: y is 'inf'"),
    "short": ("a,b,y\n\n1,2\n", r"line 3: 2 cells, but 3 columns"),
    "long": ("a,b,y\n1,2,3,4\n", r"line 2: 4 cells, but 3 columns"),
    "nothing": ("", r"no column 'a'"),
    "header": ("a,b,y\n", r"no rows"),
    "few": ("a,b,y\n" + "1,2,3\n2,2,3\n" * 2, r"4 rows, 2 of them different"),
    "equal": ("a,b,y\n" + "1,2,3\n" * 9, r"9 rows, 1 of them different"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=rf"t\.csv.*{reason}") as raised:
        read_table(tmp_path, ("a", "b", "y"), numeric=True)
    assert "\n" not in str(raised.value)


CLASS_ERRORS: dict[str, tuple[str, str]] = {
    "one": ("a,b,y\n1,2,yes\n2,3,yes\n", "y is 'yes' in all rows"),
    "empty": ("a,b,y\n1,2,yes\n2,3,\n", "line 3: y is empty"),
    "small": ("a,b,y\n" + "".join(f"{n},0,no\n" for n in range(9)) + "1,1,yes\n" * 9, "of 'yes' it has 1 different"),
}


@pytest.mark.parametrize(("text", "reason"), CLASS_ERRORS.values(), ids=CLASS_ERRORS)
def test_what_is_wrong_with_classes_is_said(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_table(tmp_path / "t.csv", ("a", "b", "y"), numeric=False)


def _nothing(folder: Path) -> Path:
    return folder / "missing.csv"


def _two(folder: Path) -> Path:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("a\n1\n")
    return folder


def _bytes(folder: Path) -> Path:
    (folder / "t.csv").write_bytes(b"a\n\xff\xfe\n")
    return folder


@pytest.mark.parametrize(
    ("make", "reason"),
    [(_nothing, "not there"), (_two, "2 CSV files"), (lambda folder: folder, "0 CSV files"), (_bytes, "UTF-8")],
    ids=["nothing", "two", "none", "bytes"],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_features(make(tmp_path), ("a",))


def residual_of(data: TableSet) -> float:
    """The largest error on valid rows of a least-squares fit to the training rows."""
    splits = data.at(0)
    train, valid = (torch.cat([inputs(s), torch.ones(len(s), 1)], 1).double() for s in (splits.train, splits.valid))
    fitted = torch.linalg.lstsq(train, splits.train.labels.double()[:, None]).solution
    return float((valid @ fitted - splits.valid.labels[:, None]).abs().max())


def test_generated_rows_follow_the_formula() -> None:
    data = generate_bonus()
    assert residual_of(data) < 1e-6
    assert data.counts == {"train": {"rows": 800}, "valid": {"rows": 200}}
    assert (data.source, data.location) == ("generated (seed 0)", "generated:0")
    assert data.features.min(0).tolist() == [1, 1, 2]
    assert data.features.max(0).tolist() == [10, 10, 13]
    assert "bonus from performance, years_of_experience, projects_completed" in data.summary()


@needs_data
def test_the_published_table() -> None:
    data = read_table(SHARED_DATA / "bonus", COLUMNS, numeric=True)
    assert residual_of(data) < 1e-6
    assert data.counts == {"train": {"rows": 800}, "valid": {"rows": 200}}
    assert data.columns == generate_bonus().columns
    # The columns go together as those of the generated one.
    theirs, ours = (np.corrcoef(one.features.T) for one in (data, generate_bonus()))
    assert np.abs(theirs - ours).max() < 0.1
    assert data.features.min(0).tolist() == generate_bonus().features.min(0).tolist()
    assert data.features.max(0).tolist() == generate_bonus().features.max(0).tolist()
