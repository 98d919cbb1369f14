"""What people see of tables and of texts: answers from a checkpoint and from an ONNX file are the same."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import pomona
from pomona import onnx_predict
from pomona.cli import main
from search_spaces import BONUS, InputError, interval_text, value_text
from training import Split, evaluate, load_checkpoint
from training.data import Kind, open_data, unlabelled
from training.data.tables import read_table
from training.data.texts import BYTES, encode_texts, lines_of, read_texts
from training.machine.files import json_text

from ..trained import bonus_checkpoint, instants_checkpoint, level_checkpoint, texts_checkpoint
from .conftest import Run
from .test_export_cli import ABSENT, OURS, ROOT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WITHOUT_PILLOW = ("PIL",)
ROWS = "projects_completed,performance,who,years_of_experience\n2,3,Ann,4\n5,5,Bob,5\n\n13,10,Cy,10\n"
INSTANTS = "performance,years_of_experience,projects_completed\n1700000001,1,2\n1700000002,1,2\n1700000599,5.5,2\n"
TEXTS = "Free prize! call now\n\nsee you ü\n" + "so long " * 99
MODELS = ("bonus", "instants", "level", "texts")
NUMBERS = ("bonus", "instants")
Model = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Of each kind a checkpoint, its ONNX file, and a file to be answered."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "rows.csv").write_text(ROWS)
    (folder / "instants.csv").write_text(INSTANTS)
    (folder / "lines.txt").write_text(TEXTS)
    found = {}
    files = {"bonus": "rows.csv", "instants": "instants.csv", "level": "rows.csv", "texts": "lines.txt"}
    for name, train in zip(
        MODELS, (bonus_checkpoint, instants_checkpoint, level_checkpoint, texts_checkpoint), strict=True
    ):
        checkpoint, onnx = folder / name, folder / f"{name}.onnx"
        train(checkpoint)
        assert main(["export", str(checkpoint), "--onnx", str(onnx)]) == 0
        found[name] = (checkpoint, onnx, folder / files[name])
    return found


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for field, value in one.items():
            if isinstance(value, str):
                assert value == other[field]
            else:
                assert value == pytest.approx(other[field], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_answers_as_its_checkpoint(run: Run, trained: dict[str, Model], name: str) -> None:
    checkpoint, onnx, asked = trained[name]
    predictions = []
    for source in (checkpoint, onnx):
        code, out, err = run("predict", source, asked, asked, "--json")
        assert code == 0, err
        predictions.append(json.loads(out))
    same(*predictions)
    # In another place of a batch a product may be summed in another order.
    same(predictions[0], predictions[0][: len(predictions[0]) // 2] * 2)
    fields = {"path", "value"} if name in NUMBERS else {"path", "label", "probability", "probabilities"}
    assert all(set(answer) == fields for answer in predictions[0])
    unit = "line" if name == "texts" else "row"
    assert [answer["path"] for answer in predictions[0][:3]] == [f"{asked} {unit} {n}" for n in (1, 2, 3)]


def test_the_columns_are_found_by_their_names(run: Run, trained: dict[str, Model], tmp_path: Path) -> None:
    checkpoint, onnx, asked = trained["bonus"]
    (tmp_path / "ordered.csv").write_text(
        "performance,years_of_experience,projects_completed\n3,4,2\n5,5,5\n10,10,13\n"
    )
    for source in (checkpoint, onnx):
        one, other = (
            [answer["value"] for answer in json.loads(run("predict", source, file, "--json")[1])]
            for file in (asked, "ordered.csv")
        )
        assert one == other
        assert one == pytest.approx([12 * 3 + 6 * 4 + 2 * 2 + 20, 12 * 5 + 6 * 5 + 2 * 5 + 20, 226], abs=10)


def test_what_people_read(run: Run, trained: dict[str, Model]) -> None:
    for source in trained["bonus"][:2]:
        code, out, err = run("predict", source, trained["bonus"][2])
        assert code == 0, err
        lines = [line.split() for line in out.splitlines()]
        assert lines[0] == ["example", "value"]
        assert len(lines) == 4
        assert 60 < float(lines[1][-1]) < 110
    for source in trained["texts"][:2]:
        code, out, err = run("predict", source, trained["texts"][2])
        assert code == 0, err
        lines = [line.split() for line in out.splitlines()]
        assert lines[0] == ["example", "class", "probability", "%"]
        assert lines[1][-2] == "spam"
        assert len(lines) == 5
    code, out, _ = run("predict", "--help")
    assert code == 0
    assert "staff.csv" in out


def test_for_notebooks(trained: dict[str, Model]) -> None:
    for name in MODELS:
        checkpoint, onnx, asked = trained[name]
        one, other = (pomona.predict(source, [asked])[0] for source in (checkpoint, onnx))
        assert (one.path, one.label) == (other.path, other.label)
        assert (one.value is None) == (other.value is None) == (name not in NUMBERS)


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_the_file_is_a_deployment(run: Run, trained: dict[str, Model], tmp_path: Path, name: str) -> None:
    checkpoint, onnx, asked = trained[name]
    copied = shutil.copy(ROOT / "pomona" / "onnx_predict.py", tmp_path / "answer.py")
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({ABSENT + OURS + WITHOUT_PILLOW!r})); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    predictions = []
    for options in ([], ["--profile"]):
        command = [sys.executable, "-c", code, copied, *options, str(onnx), str(asked)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        predictions.append(json.loads(done.stdout))
    same(predictions[0], json.loads(run("predict", checkpoint, asked, "--json")[1]))
    assert set(predictions[1]) == {"import_seconds", "load_seconds", "answer_seconds", "peak_megabytes"}


@pytest.mark.parametrize(
    ("name", "content", "saying"),
    [
        ("bonus", "performance,projects_completed\n1,2\n", "line 1: no column 'years_of_experience'"),
        ("level", "performance,performance,projects_completed\n1,2,3\n", "line 1: several columns 'performance'"),
        ("level", "performance,projects_completed\n1,2\n3,many\n", "line 3: projects_completed is 'many'"),
        ("level", "performance,projects_completed\n1,nan\n", "no finite number"),
        ("level", "performance,projects_completed\n1,2,3\n", "line 2: 3 cells, but 2 columns"),
        ("level", "performance,projects_completed\n", "holds no rows"),
        ("level", "", "no column 'performance'"),
        ("level", b"performance,projects_completed\n1,\xff\n", "can't be read as CSV"),
        ("level", None, "is not there"),
        ("texts", "", "is empty: one text a line"),
        ("texts", b"fine\n\xff\xfe\n", "line 2 is no UTF-8 text"),
        ("level", 'performance,projects_completed\n1,"1,5"\n', "line 2: projects_completed is '1,5'"),
        ("level", "performance;projects_completed\n1;2\n", "the cells are separated by ';'"),
        ("level", 'performance,projects_completed\n1,"2\n3,4\n', "line 2 can't be read as CSV"),
        ("texts", None, "can't be read: No such file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    run: Run, trained: dict[str, Model], tmp_path: Path, name: str, content: str | bytes | None, saying: str
) -> None:
    if content is not None:
        (tmp_path / "asked").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = []
    for source in trained[name][:2]:
        code, out, err = run("predict", source, trained[name][2], "asked")
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
        assert saying in err
        said.append(err)
    if content is not None:
        assert said[0] == said[1]


class Echo:
    """A session that keeps what it is asked."""

    def __init__(self, width: int) -> None:
        self.shape = ["batch", width]
        self.type = "tensor(double)"
        self.name = "asked"
        self.seen: list[NDArray[Any]] = []

    def get_inputs(self) -> list[Echo]:
        return [self]

    def run(self, _: None, asked: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.seen.append(asked["asked"])
        return [asked["asked"][:, :1]]


def read_both(file: Path, kind: Kind, width: int) -> tuple[object, object]:
    """What training and a deployment make of a file: inputs and names, or the sentence that refuses it."""
    one: object
    other: object
    try:
        inputs, names = unlabelled(kind, [file], 0)
        one = inputs.numpy().tolist(), list(names)
    except InputError as problem:
        one = str(problem)
    echo = Echo(width)
    told = {"modality": kind.modality, "classes": "[]", "columns": json.dumps(kind.columns)}
    model = onnx_predict.Model(echo, {f"pomona.{name}": value for name, value in told.items()})
    try:
        names = tuple(answer["path"] for answer in model.predict([file]))
        other = np.concatenate(echo.seen).tolist(), list(names)
    except onnx_predict.PredictionError as problem:
        other = str(problem)
    return one, other


cells = st.one_of(
    st.integers(-99, 99).map(str),
    st.sampled_from(["1e3", " 2 ", '"3"', '"4', "-0.0", "", "x", "1e39", "inf", "1_0", "1700000001"]),
)
headers = st.permutations([*BONUS.columns[:3], "who"]).flatmap(
    lambda names: st.sampled_from(
        [names, names[:3], [*names, names[0]], [f" {name} " for name in names], [name.upper() for name in names]]
    )
)


@given(
    header=headers,
    rows=st.lists(st.one_of(st.just([]), st.lists(cells, min_size=3, max_size=5)), max_size=40),
    mark=st.sampled_from(["", "\ufeff"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_is_read_as_in_training(
    tmp_path_factory: pytest.TempPathFactory, header: list[str], rows: list[list[str]], mark: str, end: str
) -> None:
    file = tmp_path_factory.mktemp("table") / "rows.csv"
    file.write_bytes((mark + end.join(",".join(row) for row in [header, *rows])).encode())
    one, other = read_both(file, Kind("tabular", BONUS.columns, "r2"), 3)
    assert one == other


@given(numbers=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=1, max_size=70))
def test_good_tables_are_read_as_in_training(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[tuple[float, ...]]
) -> None:
    file = tmp_path_factory.mktemp("table") / "rows.csv"
    lines = [BONUS.columns[:3], *numbers]
    file.write_text("\n".join(",".join(map(str, line)) for line in lines))
    one, other = read_both(file, Kind("tabular", BONUS.columns, "r2"), 3)
    assert one == other
    assert isinstance(one, tuple)
    np.testing.assert_array_equal(one[0], numbers)


ENDS = ["\r", "\n", "\r\n", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\0", "\ufeff", "\t", "a"]


@given(
    content=st.lists(st.sampled_from(ENDS), max_size=12).map(lambda parts: "".join(parts).encode())
    | st.binary(max_size=9)
)
def test_all_readers_of_texts_count_the_same_lines(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A line ends with \\n or \\r\\n and nothing else, for training and evaluation, predictions and ONNX files."""
    file = tmp_path_factory.mktemp("texts") / "lines.txt"
    file.write_bytes(content)
    one, other = read_both(file, Kind("text", (), "f1:spam"), BYTES)
    assert one == other
    if isinstance(one, tuple):
        count = content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").count(b"\n") + 1
        assert len(one[1]) == len(lines_of(file)) == count
    # As training data, with a label before each line, which is no longer empty then.
    try:
        content.decode()
    except UnicodeDecodeError:
        return
    known = [f"{name}\t{name} {number}".encode() for name in ("ham", "spam") for number in range(5)]
    labelled = known + [b"ham\t" + line for line in content.split(b"\n")]
    file.write_bytes(b"\n".join(labelled))
    assert len(read_texts(file).texts) == len(labelled)


@given(lines=st.lists(st.one_of(st.text(), st.text("aü", min_size=310, max_size=330)), max_size=5), end=st.booleans())
def test_texts_are_read_as_in_training(tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: bool) -> None:
    file = tmp_path_factory.mktemp("texts") / "lines.txt"
    file.write_bytes(("\n".join(lines) + "\n" * end).encode(errors="replace"))
    one, other = read_both(file, Kind("text", (), "f1:spam"), BYTES)
    assert one == other


def test_the_export_tells_what_it_is_for(run: Run, trained: dict[str, Model]) -> None:
    code, out, err = run("export", trained["bonus"][0], "--onnx", "bonus.onnx")
    assert code == 0, err
    assert "bonus from performance, years_of_experience, projects_completed" in out
    assert "on 200 rows" in out
    assert "r2 on them 0.99" in out
    code, out, err = run("export", trained["level"][0], "--onnx", "level.onnx", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == json.loads(out)["value"]
    code, out, err = run("export", trained["texts"][0], "--onnx", "texts.onnx")
    assert code == 0, err
    assert f"2 classes, texts of up to {BYTES} bytes" in out
    for name in ("bonus", "texts"):
        code, out, err = run("export", trained[name][0], "--onnx", "eight.onnx", "--int8")
        assert (code, out) == (1, "")
        assert "leave --int8 out" in err.splitlines()[-1]
        assert not Path("eight.onnx").exists()


def test_another_table_is_scored_whole_but_for_what_was_trained_on(
    trained: dict[str, Model], tmp_path: Path, run: Run
) -> None:
    checkpoint = trained["bonus"][0]
    rows = [f"{n % 10 + 50},{n % 7},{n % 5},{12 * (n % 10) + 6 * (n % 7) + 2 * (n % 5) + 620}" for n in range(40)]
    (tmp_path / "other.csv").write_text("\n".join([",".join(BONUS.columns), *rows]) + "\n")

    def seen(*options: object) -> tuple[int, int]:
        code, out, err = run("evaluate", checkpoint, *options, "--json")
        assert code == 0, err
        told = json.loads(out)
        assert told["n_trained_on"] == 0
        return told["n"], told["n_trained_on_left_out"]

    assert seen("--data", "other.csv") == (40, 0)
    code, out, err = run("evaluate", checkpoint, "--data", "other.csv", "--split", "valid")
    assert (code, out) == (1, "")
    assert "none of its 40 examples was trained on: leave the split out" in err
    assert seen() == (200, 0)
    assert seen("--data", "generated") == seen("--data", "generated", "--split", "valid") == (200, 800)
    # What was held out, one row of it twice, and some that were trained on, each written in another way.
    of_training, held_out = (open_data("generated", BONUS).at(0).named(split) for split in ("train", "valid"))
    assert of_training is not None
    assert held_out is not None
    for split, count in ((held_out, 9), (of_training, 20)):
        inputs, labels = split.take(torch.arange(count))
        rows += [
            ",".join(f"{x:.3f}" for x in [*row, y]) for row, y in zip(inputs.tolist(), labels.tolist(), strict=True)
        ]
    (tmp_path / "other.csv").write_text("\n".join([",".join(BONUS.columns), *reversed([*rows, rows[40]])]) + "\n")
    assert seen("--data", "other.csv") == (50, 20)


@pytest.mark.parametrize(
    ("name", "rows", "saying"),
    [
        ("bonus", ["1,2,30,50", "2,2,30,50"], "r2 is not defined on these 2 examples: it is 50 in all of them"),
        (
            "texts",
            ["ham\tsee you", "ham\tlater"],
            "f1:spam is not defined on these 2 examples: no example is of its class",
        ),
    ],
)
def test_data_on_which_the_metric_has_no_value_is_scored_with_a_note(
    trained: dict[str, Model], tmp_path: Path, run: Run, name: str, rows: list[str], saying: str
) -> None:
    checkpoint = load_checkpoint(trained[name][0])
    kind = checkpoint.record.kind
    if name == "bonus":
        file = tmp_path / "t.csv"
        file.write_text("\n".join([",".join(BONUS.columns), *(rows * 9)]) + "\n")
        split = read_table(file, kind.columns, numeric=True).whole()
    else:
        inputs = encode_texts([row.partition("\t")[2] for row in rows * 9])
        split = Split(inputs, torch.arange(18), torch.zeros(18, dtype=torch.int64), (), ("",) * 18)
    result = evaluate(checkpoint, split, torch.device("cpu"))
    assert result.note == saying.replace("these 2", "these 18")
    assert math.isnan(result.score.value)
    assert json.loads(json_text(result.to_json()))["value"] is None
    assert (value_text("r2", result.score.value), interval_text("r2", result.score.ci95)) == ("undefined", "unknown")
    if name == "bonus":
        code, out, err = run("evaluate", trained[name][0], "--data", file)
        assert (code, out.split(",")[0]) == (0, "r2 undefined")
        assert saying.replace("these 2", "these 18") in " ".join(err.split())


@pytest.mark.parametrize("name", ["level", "texts"])
def test_files_that_cannot_be_read_are_left_out_on_demand(
    run: Run, trained: dict[str, Model], tmp_path: Path, name: str
) -> None:
    good = trained[name][2]
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").write_bytes(b"performance,projects_completed\n\xff\n")
    for source in trained[name][:2]:
        plain = json.loads(run("predict", source, good, "--json")[1])
        code, out, err = run("predict", source, "damaged", good, "none", "--skip-unreadable", "--json")
        assert (code, json.loads(out)) == (0, plain)
        assert "2 of 3 files left out: " in err
    code, _, err = run("predict", trained[name][1], "folder")
    assert code == 1
    assert ("is a folder: name a CSV file" if name == "level" else "it is a folder, name a file of texts") in err


def test_a_table_of_another_task_is_not_generated() -> None:
    with pytest.raises(InputError, match="name a CSV file"):
        open_data("generated", replace(BONUS, name="mine", columns=("height", "age", "shoes", "weight"), sources=()))
