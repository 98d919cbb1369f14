from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare import MIN_ROUNDS, TOLERANCE, Verdict, compare, main
from bench.timings import OF_REFERENCE, Timing, load

SECONDS = st.floats(1e-9, 1e3)


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    low, median, high = sorted(draw(st.tuples(SECONDS, SECONDS, SECONDS)))
    return Timing(median, low, high, draw(st.integers(MIN_ROUNDS, 1000)))


FILES = st.dictionaries(st.text(min_size=1, max_size=5), timings(), min_size=1, max_size=5)


def times(timing: Timing, factor: float) -> Timing:
    return Timing(timing.median * factor, timing.low * factor, timing.high * factor, timing.rounds)


@given(FILES)
def test_a_file_is_never_slower_than_itself(file: dict[str, Timing]) -> None:
    found = compare(file, file)
    assert [one.name for one in found] == list(file)
    assert {one.verdict for one in found} == {Verdict.SAME}
    assert all(one.low <= one.ratio == 1 <= one.high for one in found)


@given(FILES)
def test_what_takes_far_longer_is_always_slower_and_the_other_way_round_faster(file: dict[str, Timing]) -> None:
    # Beyond every spread, the tolerance included.
    longer = {name: times(timing, 2 * timing.high / timing.low) for name, timing in file.items()}
    assert {one.verdict for one in compare(file, longer)} == {Verdict.SLOWER}
    assert {one.verdict for one in compare(longer, file)} == {Verdict.FASTER}


@given(timings(), timings())
def test_spreads_that_overlap_are_never_told_apart(a: Timing, b: Timing) -> None:
    (one,) = compare({"x": a}, {"x": b})
    overlap = a.low <= b.high and b.low <= a.high
    if overlap:
        assert one.verdict == Verdict.SAME
    if one.verdict == Verdict.SLOWER:
        assert one.low > 1
    assert one.low <= one.ratio <= one.high


@given(timings(), st.floats(1, 1 + 0.99 * TOLERANCE))
def test_within_the_tolerance_nothing_is_told_apart_however_narrow_the_spread(timing: Timing, factor: float) -> None:
    narrow = Timing(timing.median, timing.median, timing.median, timing.rounds)
    assert {one.verdict for one in compare({"x": narrow}, {"x": times(narrow, factor)})} == {Verdict.SAME}


@given(timings(), timings(), st.integers(1, MIN_ROUNDS - 1))
def test_a_single_call_proves_nothing(a: Timing, b: Timing, rounds: int) -> None:
    few = Timing(b.median, b.low, b.high, rounds)
    assert compare({"x": a}, {"x": few})[0].verdict == Verdict.UNKNOWN


MACHINE = {"node": "here", "system": "Linux", "torch": "2.13.0", "cpu": {"brand_raw": "Some CPU", "count": 2}}


def entry(name: str, median: float, spread: float = 0.1, module: str = "test_x") -> dict[str, Any]:
    stats = {"median": median, "q1": median * (1 - spread), "q3": median * (1 + spread), "rounds": 9, "mean": 7.0}
    return {"name": name, "fullname": f"tests/{module}.py::{name}", "stats": stats}


def written(path: Path, *entries: dict[str, Any], **machine: object) -> str:
    path.write_text(json.dumps({"benchmarks": entries, "machine_info": MACHINE | machine}))
    return str(path)


def test_a_slowdown_is_shown_and_decides_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a.json", entry("same", 1e-3), entry("worse", 2e-6), entry("gone", 1.0))
    b = written(tmp_path / "b.json", entry("worse", 4e-6), entry("same", 1.1e-3), entry("new", 1.0), node="there")
    assert main([a, b]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[2].split("|")[1:-1] == [" same        ", " 1 ms       ", " 1.1 ms     ", *lines[2].split("|")[4:-1]]
    assert "no difference shown" in lines[2]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "worse",
        "2 µs",
        "4 µs",
        "2.00 (1.64 to 2.44)",
        "slower",
    ]
    assert "1 slower, 1 no difference shown" in out
    assert "10%" in out
    assert lines[-2:] == ["only in A: gone", "only in B: new"]
    assert err == ""
    assert main([b, a]) == 0
    assert "1 faster" in capsys.readouterr().out


def test_json_has_all_that_the_table_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a.json", entry("x", 1.0), entry("gone", 1.0))
    b = written(tmp_path / "b.json", entry("x", 3.0), entry("new", 1.0), torch="2.14.0")
    assert main([a, b, "--json"]) == 1
    out, err = capsys.readouterr()
    answer = json.loads(out)
    (one,) = answer.pop("comparisons")
    assert one.pop("a") == {"median": 1.0, "low": 0.9, "high": 1.1, "rounds": 9, "unit": "s"}
    assert one.pop("b")["median"] == 3.0
    assert (one["name"], one["ratio"], one["verdict"]) == ("x", 3.0, "slower")
    assert one["low"] < 3.0 < one["high"]
    (warning,) = answer.pop("warnings")
    assert warning in err
    assert answer == {"schema_version": 1, "tolerance": TOLERANCE, "only_a": ["gone"], "only_b": ["new"]}


def test_another_machine_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a.json", entry("x", 1.0))
    b = written(tmp_path / "b.json", entry("x", 1.0), cpu={"brand_raw": "Other CPU", "count": 2}, system=None)
    assert main([a, b]) == 0
    assert capsys.readouterr().err == (
        "warning: A and B were not measured on the same machine: "
        "system 'Linux' and 'unknown'; cpu brand_raw 'Some CPU' and 'Other CPU'\n"
    )


def test_tests_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    written(path, entry("x", 1.0), entry("x", 2.0, module="test_y"), entry("z", 3.0))
    found = load(path).timings
    assert {name: timing.median for name, timing in found.items()} == {
        "tests/test_x.py::x": 1.0,
        "tests/test_y.py::x": 2.0,
        "z": 3.0,
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is no JSON"),
        ("\udcff", "is no JSON"),
        ("[]", "is not of pytest-benchmark"),
        ("{}", "is not of pytest-benchmark"),
        ('{"benchmarks": 3}', "is damaged"),
        ('{"benchmarks": []}', "holds no benchmarks"),
        ('{"benchmarks": [{"name": "x", "fullname": "x", "stats": {"median": 1}}]}', "is damaged"),
        (json.dumps({"benchmarks": [entry("x", 0.0)]}), "is damaged"),
        (json.dumps({"benchmarks": [entry("x", float("nan"))]}), "is damaged"),
        (json.dumps({"benchmarks": [entry("x", 1.0)], "machine_info": 3}), "is damaged"),
        (None, "can't read"),
    ],
)
def test_a_bad_file_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, problem: str
) -> None:
    good, bad = written(tmp_path / "good.json", entry("x", 1.0)), tmp_path / "bad.json"
    if content is not None:
        bad.write_bytes(content.encode(errors="surrogateescape"))
    for pair in ([good, str(bad)], [str(bad), good]):
        assert main(pair) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert problem in err
        assert err.count("\n") == 1


def test_files_with_nothing_in_common_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path / "a.json", entry("x", 1.0)), written(tmp_path / "b.json", entry("y", 1.0))]) == 1
    assert "no benchmark in common" in capsys.readouterr().err


RECORDED = Path(__file__).resolve().parents[2] / "results"
WRITTEN = [RECORDED / "throughput" / "throughput.json", RECORDED / "search_speed" / "search_speed.json"]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_what_the_other_benchmarks_write_is_compared_too(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path), str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparisons"]
    assert {one["ratio"] for one in found["comparisons"]} == {1.0}
    assert found["only_a"] == found["only_b"] == found["warnings"] == []


def test_a_slower_core_is_noticed_though_the_whole_machine_was_faster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = json.loads(WRITTEN[0].read_text())
    for case in recorded["measured"]:
        for row in case["candidates"]:
            factor = 1.5 if row["who"] == "ours" else 3.0
            row["rates"] = [factor * rate for rate in row["rates"]]
    later = tmp_path / "later.json"
    later.write_text(json.dumps(recorded))
    assert main([str(WRITTEN[0]), str(later), "--json"]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["comparisons"]}
    relative = [one for one in found.values() if one["a"]["unit"] == OF_REFERENCE]
    assert relative
    assert {one["verdict"] for one in relative} <= {Verdict.SLOWER, Verdict.SAME}
    assert any(one["verdict"] == Verdict.SLOWER for one in relative)
    assert all(one["ratio"] < 1 for name, one in found.items() if not name.endswith("/ reference"))


def test_files_of_different_benchmarks_have_nothing_in_common(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path) for path in WRITTEN]) == 1
    assert "no benchmark in common" in capsys.readouterr().err
