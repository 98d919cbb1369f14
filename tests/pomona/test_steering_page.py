"""Every block of docs/how-to/steer-a-search.md runs as it stands there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "steer-a-search.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.strip().splitlines()]
((_, MINE),) = re.findall(r"This is `(mine.json)`:\n\n```json\n(.*?)```", PAGE, re.S)
(NOTEBOOK,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.slow
def test_the_page(run: Run) -> None:
    Path("mine.json").write_text(MINE)
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        assert program == "pomona"
        code, _, err = run(*arguments)
        assert code == 0, f"{line}: {err}"
    found: dict[str, Any] = {}
    exec(NOTEBOOK, found)
    assert [record.note for record in found["study"].records()].count("enqueued") == 1


def test_each_limit_each_target_and_what_was_brought(run: Run) -> None:
    """In short what the page says, with the lines that it promises."""
    usual = ("bonus", "--epochs", 2)
    code, out, err = run("search", *usual, "--study", "a", "--target", 0.5, "--sampler", "random", "--json")
    told = json.loads(out)
    assert code == 0, err
    assert (told["trials"], told["stop_at"]) == (None, 0.5)
    assert told["done"].startswith("target passed: trial ")
    assert told["done"] in err
    assert "budget: trials of 2 epochs for 2 min" in err
    assert run("status", "a")[1].splitlines()[0].endswith(f"done: {told['done']}")
    code, _, err = run("resume", "a")
    assert code == 0
    assert err.count(told["done"]) == 1

    Path("mine.json").write_text(MINE)
    brought = ("--enqueue", "mine.json", "--warm-start", "a", "--trials", 4)
    narrowed = ("--set", "batch_size=8,16", "--set", "learning_rate=0.01..0.1")
    code, out, err = run("search", *usual, "--study", "b", *brought, *narrowed)
    assert code == 0, err
    assert "enqueue: 2 configs of mine.json" in err
    assert "warm start: " in err
    rows = json.loads(run("leaderboard", "b", "--json")[1])
    trials = [row for row in rows if row["params"]]
    assert len(trials) == 4
    assert all(row["params"]["batch_size"] in (8, 16) for row in trials)
    assert [row["note"] for row in rows].count("enqueued from mine.json") == 2
    assert run("studies", "list")[1].count("4 of 4") == 1

    # More time is no more trials.
    code, _, err = run("resume", "b", "--timeout", "5m")
    assert code == 0, err
    assert "study b: done, all of its 4 trials have ended" in err
    assert json.loads(run("status", "b", "--json")[1])["budget"] == "4 trials of 2 epochs, at most 5 min"

    Path("wrong.json").write_text('[{"momentum": 2}]')
    code, _, err = run("search", *usual, "--study", "c", "--enqueue", "wrong.json")
    assert code == 1
    assert err == "error: wrong.json, config 1: momentum must lie in 0 to 0.98, not 2\n"
    assert "c" not in {row["study"] for row in json.loads(run("studies", "list", "--json")[1])}


def test_a_time_does_not_outlast_a_space(run: Run) -> None:
    sets = ["batch_size=8,16", "momentum=0.5", "learning_rate=0.001", "weight_decay=1e-5"]
    narrowed = [part for one in sets for part in ("--set", one)]
    code, out, err = run(
        "search", "bonus", *narrowed, "--strategy", "plain", "--timeout", "1h", "--epochs", 1, "--json"
    )
    assert code == 0, err
    assert "no config was found that has not been tried" in err
    assert json.loads(out)["ended"] == 2
    assert "go on with" not in err
