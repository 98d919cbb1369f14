"""The results that a folder keeps: leaderboards as `pomona leaderboard STUDY --format json` writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import InputError, Task

LEADERBOARDS = Path("results", "leaderboards")


@dataclass(frozen=True)
class Recorded:
    """The best trial of a leaderboard; `ci95` is the 95 % interval of an accuracy on `n` examples."""

    value: float
    n: int
    ci95: tuple[float, float] | None
    file: str


def best_recorded(task: Task, folder: Path = LEADERBOARDS) -> Recorded | None:
    """The best that the leaderboards TASK.json and TASK-*.json in `folder` hold, None where there is nothing.

    Raises:
        InputError: one of them is not a leaderboard.
    """
    found = [
        trial
        for pattern in (f"{task.name}.json", f"{task.name}-*.json")
        for file in sorted(folder.glob(pattern))
        for trial in _complete(file)
    ]
    sign = 1.0 if task.direction == "maximize" else -1.0
    return max(found, key=lambda trial: sign * trial.value, default=None)


def _complete(file: Path) -> list[Recorded]:
    """The trials of a leaderboard that ran to their end."""
    try:
        rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return [
            Recorded(float(row["value"]), int(row["n"]), _interval(row["ci95"]), file.as_posix())
            for row in rows
            if row["rank"] is not None and row.get("state", "complete") == "complete"
        ]
    except OSError as problem:
        raise InputError(f"{file} can't be read: {problem.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{file} is no leaderboard: write it with pomona leaderboard STUDY --format json") from None


def _interval(bounds: list[float] | None) -> tuple[float, float] | None:
    if bounds is None:
        return None
    low, high = bounds
    return float(low), float(high)
