"""A user's own task file: what is taken from it, and what is said of one that can't be used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from search_spaces import FRUIT, InputError, task_file, task_named

from .task_files import BIRDS


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "my_task.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def modules() -> set[str]:
    return {name for name in sys.modules if "_pomona_task_" in name}


def test_a_file_gives_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, BIRDS)
    task = task_named(str(path))
    assert task.name == "birds"
    monkeypatch.chdir(tmp_path)
    assert task_named("my_task.py") == task_named("./my_task.py") == task
    assert [path.name for path in tmp_path.iterdir()] == ["my_task.py"]


def test_a_folder_s_name_need_not_be_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    assert task_named(str(written(folder, BIRDS))).name == "birds"
    with pytest.raises(InputError, match="line 1: ZeroDivisionError"):
        task_named(str(written(folder, "1 / 0")))


def test_a_changed_file_gives_its_new_task(tmp_path: Path) -> None:
    path = written(tmp_path, BIRDS)
    task_named(str(path))
    # Of the same length, within the same second.
    written(tmp_path, BIRDS.replace('"birds"', '"bards"'))
    assert task_named(str(path)).name == "bards"


def test_only_what_ends_in_py_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert task_file("fruit") is None
    assert task_file("fruit.py") == tmp_path / "fruit.py"
    assert task_file("../fruit.py") == tmp_path.parent / "fruit.py"
    (tmp_path / "fruit").write_text("nothing")
    assert task_named("fruit") is FRUIT


@pytest.mark.parametrize(
    "more",
    [
        "ALSO = BIRDS",
        "TASK = BIRDS",
        "PARROTS = replace(BIRDS, name='parrots')\nTASK = BIRDS",
        "from search_spaces import *\nfrom search_spaces import CATS_DOGS as OTHER",
        "TASK = 'birds'",
        "from dataclasses import dataclass\n@dataclass\nclass Own:\n    x: 'int' = 1",
    ],
    ids=["two names", "named TASK", "one of two is TASK", "pomona's own", "TASK is something else", "a dataclass"],
)
def test_the_one_that_is_meant_is_taken(tmp_path: Path, more: str) -> None:
    assert task_named(str(written(tmp_path, f"{BIRDS}\n{more}\n"))).name == "birds"


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        pytest.param("", "holds no task", id="empty"),
        pytest.param("from search_spaces import FRUIT", "holds no task", id="only pomona's own"),
        pytest.param(BIRDS + "PARROTS = replace(BIRDS, name='parrots')", r"2 tasks \('birds', 'parrots'\)", id="two"),
        pytest.param(BIRDS.replace('"birds"', '"fruit"'), "another name", id="the name of pomona's own"),
        pytest.param("from search_spaces import FRUIT as TASK", "another name", id="pomona's own as TASK"),
        pytest.param("x = 1\ny = = 2\n", "line 2: not Python, invalid syntax", id="syntax"),
        pytest.param("x = 1\n  y = 2\n", "line 2: not Python, unexpected indent", id="indentation"),
        pytest.param(b"x = '\xff'\n", "my_task.py.*not Python", id="no text"),
        pytest.param(b"x = 1\0\n", "my_task.py.*not Python", id="a zero byte"),
        pytest.param("\n\n1 / 0\n", "line 3: ZeroDivisionError: division by zero", id="an error"),
        pytest.param("def f():\n    raise ValueError('a\\nb')\nf()\n", "line 2: ValueError: a b$", id="in a function"),
        pytest.param("import birdsong", "line 1: ModuleNotFoundError: .*birdsong", id="a missing module"),
        pytest.param("import sys\nsys.exit(3)", "line 2: SystemExit: 3", id="it leaves"),
        pytest.param(
            BIRDS.replace('"squeezenet1_1", "res', '"alexnet", "res'),
            "line 5: the recipe of .* backbone must be one of",
            id="recipe",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str | bytes, saying: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=saying) as caught:
        task_named(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "raised"),
    [("1 / 0", InputError), ("raise SystemExit", InputError), ("raise KeyboardInterrupt", KeyboardInterrupt)],
)
def test_a_file_that_breaks_off_leaves_no_half_of_a_module(
    tmp_path: Path, text: str, raised: type[BaseException]
) -> None:
    before = modules()
    path = written(tmp_path, BIRDS)
    task_named(str(path))
    assert len(modules()) == len(before) + 1
    written(tmp_path, text)
    with pytest.raises(raised):
        task_named(str(path))
    assert modules() == before


def test_what_a_file_prints_is_not_part_of_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task_named(str(written(tmp_path, f"print('loading')\n{BIRDS}")))
    assert capsys.readouterr() == ("", "loading\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"no task file '.*none\.py'"):
        task_named(str(tmp_path / "none.py"))
    with pytest.raises(InputError, match=r"no task file"):
        task_named(str(tmp_path / "file" / "none.py"))
    with pytest.raises(InputError, match=r"folder\.py' can't be read"):
        task_named(str(tmp_path / "folder.py"))
