"""Commands that are shown can be pasted, and promise only what works."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomona.hints import go_on_command, pomona_command, typed_command
from pomona.study_state import state_text
from studies import Study
from studies.storage import is_in_memory

from ..studies.settings import settings_for
from ..studies.small_studies import result
from ..toys import TOY
from .conftest import Run

NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=8)
ZERO = "performance,years_of_experience,projects_completed,bonus\n" + "".join(
    f"{i % 9 + 1},{i % 7 + 1},{i % 5 + 1},{1e30 * i}\n" for i in range(60)
)


@given(NAMES, NAMES)
def test_a_shell_reads_back_what_was_meant(study: str, storage: str) -> None:
    words = shlex.split(pomona_command("status", study, storage=storage))
    assert words[:2] == ["pomona", "status"]
    assert study in words
    if study.startswith("-"):
        assert words[-2:] == ["--", study]
    assert f"--storage={storage}" in words or words[words.index("--storage") + 1] == storage


@pytest.mark.parametrize("name", ["my study", "$(id)", "-dash", "it's", "a;b", "`id`", "*"])
def test_a_real_shell_runs_nothing_and_takes_the_name_whole(name: str) -> None:
    script = f"pomona() {{ printf '%s\\n' \"$@\"; }}; {pomona_command('train', 'bonus', from_study=name)}"
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said in (["train", "bonus", "--from-study", name], ["train", "bonus", f"--from-study={name}"])


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://", "sqlite:///file::memory:?uri=true"]
)
def test_databases_in_memory(url: str) -> None:
    assert is_in_memory(url)


@pytest.mark.parametrize("url", [None, "j.log", "sqlite:///studies.db", "postgresql://host/db", "sqlite.log"])
def test_what_stays(url: str | None) -> None:
    assert not is_in_memory(url)


def test_status_repeats_the_storage(run: Run) -> None:
    options = ["--trials", 1, "--epochs", 1, "--storage", "my studies/j.log"]
    code, _, err = run("search", "bonus", *options)
    assert code == 0
    assert err.splitlines()[-1] == "use it: pomona train bonus --from-study bonus-1 --storage 'my studies/j.log'"
    # More are wanted than there are.
    assert run("resume", "bonus-1", "--storage", "my studies/j.log", "--trials", 9, "--timeout", "0.001s")[0] == 0
    out = run("status", "bonus-1", "--storage", "my studies/j.log")[1]
    assert out.splitlines()[-1] == "  go on: pomona resume bonus-1 --storage 'my studies/j.log'"


def test_nothing_is_offered_that_is_not_there(run: Run, tmp_path: object) -> None:
    with open("zero.csv", "w") as file:
        file.write(ZERO)
    code, out, err = run("search", "bonus", "--data", "zero.csv", "--trials", 1, "--epochs", 1, "--storage", "k.log")
    # Whoever goes on with its winner is told that there is none.
    assert code == 1, err
    assert "No trial has run to its end yet." in out
    assert "use it" not in err
    code, _, err = run("train", "bonus", "--from-study", "bonus-1", "--storage", "k.log")
    assert code == 1
    assert "pomona resume" not in err


@pytest.mark.parametrize("command", ["search", "resume"])
def test_a_time_that_was_up_before_anything_was_found_is_no_success(run: Run, command: str) -> None:
    """A script would go on with `pomona train --from-study`, which then has nothing to train."""
    limit = ("--timeout", "0.000001s", "--json")
    code, out, err = run("search", "bonus", "--study", "s", "--strategy", "plain", *limit)
    if command == "resume":
        code, out, err = run("resume", "s", *limit)
    assert (json.loads(out)["best"], json.loads(out)["ended"]) == (None, 0)
    assert code == 1, err
    assert run("train", "bonus", "--from-study", "s")[0] == 1


def test_a_study_in_memory_is_said_to_go(run: Run) -> None:
    code, _, err = run("search", "bonus", "--trials", 1, "--epochs", 1, "--storage", "sqlite://")
    assert code == 0
    assert "the study is gone when this process ends" in err
    assert "use it" not in err
    assert "go on" not in err


def test_a_storage_is_repeated_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POMONA_STORAGE", raising=False)
    assert pomona_command("resume", "s") == "pomona resume s"
    assert pomona_command("resume", "s", storage="my studies/j.log") == "pomona resume s --storage 'my studies/j.log'"
    monkeypatch.setenv("POMONA_STORAGE", "my studies/j.log")
    assert pomona_command("resume", "s", storage="my studies/j.log") == "pomona resume s"
    assert pomona_command("resume", "s", storage="k.log") == "pomona resume s --storage k.log"


def test_a_password_is_not_repeated() -> None:
    line = pomona_command("resume", "s", storage="postgresql://me:secret@host/name")
    assert line == "pomona resume s --storage 'postgresql://me:***@host/name'"


@pytest.mark.parametrize("option", [["--storage", "{}"], ["--storage={}"]])
def test_what_was_typed_is_kept_without_its_password(option: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = [word.format("postgresql://me:secret@host/name") for word in option]
    monkeypatch.setattr("sys.argv", ["/bin/pomona", "resume", "my study", *words])
    assert "secret" not in typed_command()
    assert typed_command().startswith("pomona resume 'my study' ")
    assert "***@host/name" in typed_command()


# SQLite has no passwords, so that SQLAlchemy ignores this one.
@pytest.mark.filterwarnings("ignore:Query string argument")
@pytest.mark.parametrize("command", ["resume", "confirm"])
def test_going_on_keeps_no_password(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    storage = f"sqlite:///{tmp_path}/s.db?password=secret"
    assert run("search", "bonus", "--study", "s", "--storage", storage, "--trials", 1, "--epochs", 1)[0] == 0
    more = ["--trials", "2"] if command == "resume" else ["--top", "1", "--seeds", "1"]
    arguments = [command, "s", "--storage", storage, *more]
    monkeypatch.setattr("sys.argv", ["pomona", *arguments])
    code, _, err = run(*arguments)
    assert code == 0, err
    assert "secret" not in err
    commands = json.loads(run("status", "s", "--storage", storage, "--json")[1])["commands"]
    assert commands[-1].startswith(f"pomona {command} s")
    assert not [one for one in commands if "secret" in one]


def test_every_command_takes_the_storage_of_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(tmp_path / "a b.log")
    Study.create("my study", storage, replace(settings_for(TOY), task="bonus"), TOY.recipe)
    assert run("status", "my study", "--storage", storage)[1].endswith(
        f"  go on: pomona resume 'my study' --storage '{storage}'\n"
    )
    monkeypatch.setenv("POMONA_STORAGE", storage)
    assert run("status", "my study")[1].endswith("  go on: pomona resume 'my study'\n")
    assert run("leaderboard", "my study", "--json")[0] == 0
    assert run("status", "my study", "--storage", "none.log")[0] == 1


def with_a_result(storage: str, task: str, file: str | None) -> Study:
    settings = replace(settings_for(TOY), task=task, task_file=file)
    study = Study.create("s", storage, settings, TOY.recipe)
    next(study.proposals(TOY.space, 1))
    study.recording.finish(0, result())
    return study


@pytest.mark.parametrize("storage", ["results/studies/journal.log", "other.log"])
def test_what_goes_on_with_a_task_file_is_allowed_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """Where the storage may be another user's, a file that it names is run when asked for, and is named first."""
    monkeypatch.delenv("POMONA_STORAGE", raising=False)
    study = with_a_result(storage, "birds", "/my tasks/birds.py")
    other = storage == "other.log"
    where = ("--storage", storage) if other else ()
    options = f" --trust-task-file --storage {storage}" if other else ""
    look = " (runs '/my tasks/birds.py': look at it before)" if other else ""
    assert run("status", "s", *where)[1].splitlines()[-1] == f"  go on: pomona resume s{options}{look}"
    title = " ".join(run("leaderboard", "s", *where)[1].split())
    assert f"pomona confirm s{options} does that{look}." in title
    again = go_on_command("confirm", study, storage=storage if other else None, top=1, seeds=2)
    assert again == f"pomona confirm s --top 1 --seeds 2{options}"


def test_what_goes_on_with_a_task_object_is_python(run: Run) -> None:
    study = with_a_result("j.log", "toy", None)
    where = ("--storage", "j.log")
    python = "pomona.resume('s', storage='j.log', task=TASK)"
    assert run("status", "s", *where)[1].splitlines()[-1] == f"  go on: {python}"
    title = " ".join(run("leaderboard", "s", *where)[1].split())
    assert "pomona.confirm('s', storage='j.log', task=TASK) does that." in title
    assert go_on_command("confirm", study, storage=None, top=2) == "pomona.confirm('s', top=2, task=TASK)"


def test_a_search_by_time_that_ended_is_not_called_stopped() -> None:
    ended = {"running": False, "done": None, "trials": None, "ended": 5, "states": {"complete": 5}}
    assert state_text(ended) == "time used"
    assert state_text(ended | {"states": {"complete": 5, "interrupted": 1}}) == "stopped"
    assert state_text(ended | {"ended": 0, "states": {}}) == "stopped"
    assert state_text(ended | {"trials": 9}) == "stopped"
    assert state_text(ended | {"done": "target passed"}) == "done"
    assert state_text(ended | {"running": True}) == "running"
