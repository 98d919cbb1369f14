"""What holds for every task: one set of commands takes it from its space to a file that answers by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from search_spaces import Task, is_numeric

Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Small:
    """A task made small: its data, a file or folder to be answered, and what is fixed of its space."""

    task: Task
    data: Path
    asked: Path
    fixed: dict[str, object] = field(default_factory=dict)
    weights: Path | None = None

    @property
    def options(self) -> list[object]:
        fixed = [part for name, value in self.fixed.items() for part in ("--set", f"{name}={value}")]
        return ["--data", self.data, *(["--weights-dir", self.weights] if self.weights else []), *fixed]


def check_task(small: Small, run: Run) -> None:
    """Search, leaderboard, train, evaluate, export, predict: in the current folder, by the command line."""
    name, study = small.task.name, f"{small.task.name}-1"
    code, _, err = run("search", name, *small.options, "--trials", 2, "--epochs", 1)
    assert code == 0, err
    rows = json.loads(run("leaderboard", study, "--json")[1])
    assert len(rows) == 2
    assert rows[0]["state"] == "complete"
    assert any(row["note"].startswith("recipe") for row in rows)

    code, out, err = run("train", name, "--from-study", study, "--out", "best", "--json")
    assert code == 0, err
    trained = json.loads(out)
    code, out, err = run("evaluate", "best", "--figures", "figures", "--json")
    assert code == 0, err
    evaluated = json.loads(out)
    assert evaluated["metric"] == small.task.metric
    assert evaluated["value"] == trained["value"] == rows[0]["value"]
    assert all(Path(figure).stat().st_size > 0 for figure in evaluated["figures"])

    code, _, err = run("export", "best", "--onnx", "best.onnx")
    assert code == 0, err
    for model in ("best", "best.onnx"):
        code, out, err = run("predict", model, small.asked, "--json")
        assert code == 0, err
        answers = json.loads(out)
        assert answers
        for answer in answers:
            if is_numeric(small.task.metric):
                assert isinstance(answer["value"], float)
            else:
                assert answer["label"] in answer["probabilities"]
                assert set(evaluated["classes"]) == set(answer["probabilities"])
