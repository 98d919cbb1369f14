"""Made-up runs for the tests of the anytime benchmark."""

from __future__ import annotations

from bench.anytime.runs import Point, Run, Score

ENVIRONMENT = {
    "python": "3.11.0",
    "versions": {"torch": "2.0"},
    "commit": "abc",
    "device": "a machine",
    "threads": 2,
}


def point(seconds: float, value: float, n: int = 200, what: str = "trial 0", test: float | None = None) -> Point:
    return Point(seconds, value, n, what, test=None if test is None else Score(test, 100))


def run(system: str, *points: Point, task: str = "fruit", seed: int = 0, seconds: float = 600.0) -> Run:
    data = {"task": "fruit", "fingerprint": "f00d"}
    return Run(task, system, seed, seconds, 8, points, seconds, "pomona search", ENVIRONMENT, data)
