"""All JSON that commands print is strict, and docs/json.md says what is in it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import compare
from pomona import onnx_predict
from studies import leaderboard_rows, open_study, to_json
from training.machine.files import SCHEMA_VERSION, answer_text

from ..bench.test_compare import entry, written
from ..trained import bonus_checkpoint, level_checkpoint
from .conftest import Run

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
SECTIONS = {
    title: re.findall(r"^\| ([^ |]+)( \*)? \|", body, flags=re.MULTILINE)
    for title, body in re.findall(r"^## (.+)\n((?:.*\n)*?)(?=\n## |\Z)", PAGE, flags=re.MULTILINE)
}
ONE_VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=5))
ANY_VALUE = st.recursive(ONE_VALUE, lambda part: st.lists(part) | st.dictionaries(st.text(st.characters()), part))


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def strict(text: str) -> Any:
    text.encode("utf-8")
    return json.loads(text, parse_constant=refuse)


def fields_of(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all that is in it, as the page writes them."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from fields_of(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for part in value:
            yield from fields_of(part, f"{path}[]")
    else:
        yield path


def pattern(documented: str) -> str:
    """Words in capitals stand for any name."""
    return re.sub(r"(?<![A-Za-z])[A-Z]+", r"[^\\n]+", re.escape(documented).replace("_METRIC", "_[^.]+"))


def check(section: str, answer: Any) -> None:
    """What was printed is on the page, and the page promises nothing that was not printed."""
    if isinstance(answer, dict):
        assert answer.pop("schema_version") == SCHEMA_VERSION
    found = set(fields_of(answer))
    documented = {name: bool(optional) for name, optional in SECTIONS[section] if name != "field"}
    assert documented
    # METRIC alone would stand for anything: the names of metrics are known.
    allowed = [pattern(name) for name in documented if name != "METRIC"] + (
        ["rmse|r2"] if "METRIC" in documented else []
    )
    # What is empty or null has no fields to be documented.
    parents = {name for name in documented for other in documented if other.startswith((f"{name}.", f"{name}[]"))}
    bare = {".".join(name.split(".")[:depth]) for name in documented for depth in range(1, name.count(".") + 1)}
    bare |= {name.removesuffix("[]") for name in bare}
    unknown = {field for field in found if field not in bare and not any(re.fullmatch(one, field) for one in allowed)}
    assert unknown == set(), f"docs/json.md lacks them under {section!r}"
    missing = {
        name
        for name, optional in documented.items()
        if not optional
        and name not in parents
        and not any(re.fullmatch(pattern(name), field) for field in found)
        and not any(name.startswith((f"{field}.", f"{field}[]")) for field in found)
    }
    assert missing == set(), f"docs/json.md promises them under {section!r}"


def test_every_answer_is_strict_and_as_the_page_says(run: Run, tmp_path: Path) -> None:
    storage = ["--storage", "j.log"]

    def printed(*arguments: object) -> Any:
        code, out, err = run(*arguments)
        assert code == 0, err
        return strict(out)

    check(
        "search, resume, confirm, status", printed("search", "bonus", "--trials", 1, "--epochs", 1, *storage, "--json")
    )
    check("search, resume, confirm, status", printed("status", "bonus-1", *storage, "--json"))
    check("studies list", printed("studies", "list", *storage, "--json"))
    check("leaderboard", printed("leaderboard", "bonus-1", "--format", "json", *storage))
    (record,) = open_study("bonus-1", "j.log").records()
    diverged = replace(record, value=math.inf, ci95=(math.nan, -math.inf), secondary={"rmse": math.nan})
    check("leaderboard", strict(to_json(leaderboard_rows([record, diverged]))))
    confirm = ("confirm", "bonus-1", "--seeds", 2, *storage, "--json")
    check("search, resume, confirm, status", printed(*confirm))
    check("studies list", printed("studies", "list", *storage, "--json"))
    check("leaderboard", printed("leaderboard", "bonus-1", "--format", "json", "--confirmations", *storage))
    check("train", printed("train", "bonus", "--epochs", 1, "--out", "bonus", "--json"))
    level_checkpoint(tmp_path / "level")
    check("evaluate", printed("evaluate", "bonus", "--json"))
    check("evaluate", printed("evaluate", "level", "--json"))
    (tmp_path / "rows.csv").write_text("performance,years_of_experience,projects_completed\n1,2,3\n4,5,6\n")
    for model in ("bonus", "level"):
        check("predict", printed("predict", model, "rows.csv", "--json"))
    check("tasks", printed("tasks", "--json"))
    check("cache", printed("cache", "--clear", "--json"))
    check("data show", printed("data", "show", "bonus", "--json"))


def test_the_answer_of_an_export_is_as_the_page_says(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    bonus_checkpoint(tmp_path / "bonus")
    check("export", strict(run("export", "bonus", "--onnx", "bonus.onnx", "--json")[1]))


def test_the_answer_of_a_comparison_is_as_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path / "a.json", entry("x", 1.0)), written(tmp_path / "b.json", entry("x", 1.0))
    assert compare.main([a, b, "--json"]) == 0
    check("bench compare", strict(capsys.readouterr().out))


def test_a_target_that_is_constant_gives_null(run: Run, tmp_path: Path) -> None:
    bonus_checkpoint(tmp_path / "bonus")
    rows = "".join(f"{n % 9 + 1},{n % 7 + 1},{n % 5 + 1},100\n" for n in range(60))
    (tmp_path / "c.csv").write_text(f"performance,years_of_experience,projects_completed,bonus\n{rows}")
    code, out, err = run("evaluate", "bonus", "--data", "c.csv", "--json")
    assert code == 0, err
    assert strict(out)["value"] is None


@given(ANY_VALUE)
def test_whatever_is_answered_is_strict(value: Any) -> None:
    strict(answer_text(value))


@given(st.dictionaries(st.sampled_from("ab"), st.floats() | st.lists(st.floats())))
def test_the_copied_file_for_onnx_is_strict_too(value: Any) -> None:
    strict(json.dumps(onnx_predict._for_json(value), allow_nan=False))


def test_bytes_that_are_no_text_are_told_apart() -> None:
    names = ["caf\udce9", "caf\udce8", "caf\\udce9x", "😀"]
    answered = strict(answer_text(names))
    assert answered == ["caf\\udce9", "caf\\udce8", "caf\\udce9x", "😀"]


def test_lists_stay_lists_and_objects_name_their_version() -> None:
    assert strict(answer_text([1])) == [1]
    assert strict(answer_text({"a": 1})) == {"schema_version": SCHEMA_VERSION, "a": 1}
