"""Output that can't be written, or that a terminal would obey: one line, an exit code, never a traceback."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomona.cli import main
from pomona.console import note, print_answer, print_lines, print_table, set_verbosity
from pomona.printable import one_line, printable

from .conftest import Run

ROOT = Path(__file__).resolve().parents[2]
ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\n\t\r\x1b\x9b\x00\u2028\u202e\udce9[]/"))
NASTY = "a \x1b[31m[red]\n[/b] :smile: caf\udce9\u202e"
SHOWN = "a \\x1b[31m[red]\\n[/b] :smile: caf\\xe9\\u202e"
SHORT = ("tasks", "bonus")


class Failing(io.StringIO):
    def __init__(self, problem: OSError) -> None:
        super().__init__()
        self.problem = problem

    def write(self, text: str) -> int:
        raise self.problem


@given(ANY_TEXT)
def test_one_line_is_printable_and_leaves_other_text_alone(text: str) -> None:
    shown = one_line(text)
    assert not any(char in shown for char in "\n\r\x1b\x9b\x00\u2028\u202e")
    assert shown.encode("utf-8").decode() == shown
    assert one_line(shown) == shown
    assert printable(text).replace("\n", "\\n").replace("\t", "\\t") == shown
    if text.isascii() and text.isprintable():
        assert shown == text


def test_nothing_printed_is_markup_or_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([NASTY, "n"], [[NASTY, "1"]])
    print_lines([NASTY])
    note(NASTY)
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == [SHOWN] * 3
    assert err == f"{SHOWN}\n"


def test_names_in_brackets_stay_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """The example that was lost: two classes became one."""
    print_table(["", "apple [red]", "apple [green]"], [["apple [red]", "4", "0"], ["apple [green]", "1", "3"]])
    lines = [re.split("  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [["apple [red]", "apple [green]"], ["apple [red]", "4", "0"], ["apple [green]", "1", "3"]]


def test_a_cell_that_closes_a_tag_is_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["file"], [["a[/b].png"]])
    assert capsys.readouterr().out.split() == ["file", "a[/b].png"]


@pytest.mark.parametrize("stderr", ["whole", "closed"])
def test_a_closed_stdout_is_one_line(monkeypatch: pytest.MonkeyPatch, stderr: str) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None if stderr == "closed" else said)
    assert main(list(SHORT)) == 1
    if stderr == "whole":
        assert said.getvalue() == "error: the answer can't be written to stdout: it is closed\n"


@pytest.mark.parametrize("arguments", [SHORT, ("--help",), ("--version",), ("bench", "compare", "--help")])
def test_a_full_stdout_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Failing(OSError(28, "No space left on device")))
        assert main(list(arguments)) == 1
    assert capsys.readouterr().err == "error: the answer can't be written to stdout: No space left on device\n"


@pytest.mark.parametrize("arguments", [SHORT, ("--help",)])
def test_a_reader_that_has_seen_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Failing(BrokenPipeError(32, "Broken pipe")))
        assert main(list(arguments)) == 0
    assert capsys.readouterr().err == ""


def test_notes_that_nobody_can_read_do_not_stop_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Failing(BrokenPipeError(32, "Broken pipe")))
        assert main(["tasks"]) == 0
    assert "fruit" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr("pomona.commands.tasks.TASKS", ())
    monkeypatch.setattr("pomona.commands.tasks._print_overview", lambda _: print_answer("größe × 測 caf\udce9"))
    assert main(["tasks"]) == 0
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown.startswith("größe ×" if encoding != "ascii" else "gr\\xf6\\xdfe \\xd7")
    assert shown.endswith("caf\\xe9\n")


def test_a_pipe_gets_every_column_though_colours_are_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("GITHUB_ACTIONS", "true"), ("COLUMNS", "20"), ("TTY_COMPATIBLE", "1")):
        monkeypatch.setenv(name, value)
    assert print_table(["first", "second " * 9], [["a" * 40, "b"]], expendable=["first"]) == []
    out = capsys.readouterr().out
    assert "a" * 40 in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, None), ({"TERM": "dumb"}, False)]
)
@pytest.mark.parametrize("columns", [20, 50])
def test_a_terminal_of_any_kind(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    coloured: bool | None,
    columns: int,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in ({"TERM": "xterm", "COLUMNS": str(columns)} | environment).items():
        monkeypatch.setenv(name, value)
    left_out = print_table(["name", "n", "more"], [["apple [red]", "1", "m" * 40]], expendable=["more"])
    out = capsys.readouterr().out
    assert left_out == (["more"] if columns == 20 else [])
    assert "[red]" in out
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= columns for line in out.splitlines())
    if coloured is not None:
        assert ("\x1b[" in out) == coloured


def test_quiet_leaves_answers_and_errors(run: Run) -> None:
    try:
        code, out, err = run("tasks", "--quiet")
        assert (code, err) == (0, "")
        assert "fruit" in out
        assert "fruit" in run("-q", "tasks")[1]
        code, _, err = run("tasks", "nothing", "-q")
        assert code == 1
        assert err.startswith("error: unknown task")
        assert "shows a task" in run("tasks")[2]
    finally:
        set_verbosity()


def test_verbose_says_where_an_error_came_from(run: Run) -> None:
    try:
        code, _, err = run("tasks", "nothing", "-v")
        assert code == 1
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("error: unknown task 'nothing'")
    finally:
        set_verbosity()


def test_the_version_is_the_distributions(run: Run) -> None:
    import pomona

    assert run("--version") == (0, f"pomona {pomona.__version__}\n", "")


def test_tasks_are_completed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_POMONA_COMPLETE", "complete_bash"), ("COMP_WORDS", "pomona search fa"), ("COMP_CWORD", "2")):
        monkeypatch.setenv(name, value)
    code, out, _ = run()
    assert code == 0
    assert out.split() == ["fashion_mlp", "fashion_cnn", "fashion_transfer"]


def test_as_a_process_without_streams() -> None:
    """Descriptors that are closed or full, as a shell leaves them: the kind that only a process shows."""
    script = """
python() { "$PYTHON" -m pomona tasks bonus; echo "exit: $?" >&3; }
exec 3>&1
python >&-
python >/dev/full
python >&- 2>&-
python 2>&- >/dev/null
python 2>/dev/full >/dev/null
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.split("\n")[:-1] == [f"exit: {code}" for code in (1, 1, 1, 0, 0)]
    start = "error: the answer can't be written to stdout: "
    assert done.stderr == f"{start}it is closed\n{start}No space left on device\n"
