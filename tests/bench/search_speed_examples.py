"""Results of a search-speed run that nobody had to wait for, and what is needed to make more of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.search_speed.configs import draw_configs
from bench.search_speed.job import Job, Train
from bench.search_speed.measure import Planned, plan
from bench.search_speed.methods import Method
from bench.search_speed.results import Block, Results, Trained
from search_spaces import FRUIT, Config
from search_spaces.benchmarks import fixed_values

FIXED = fixed_values(FRUIT, 128)
SETTINGS = {"methods": ["notebook", "expert", "ours"], "epochs": 2}
ABOUT = {
    "command": "python -m bench.search_speed",
    "data": "made up",
    "environments": [{"device": "none", "python": "3", "versions": {"torch": "2"}, "commit": ""}],
    "target": 0.92,
}
JOB = Job("fruit", Path("photos"), Path("weights"), 128, 2, 0, "cpu")


def fake(name: str, *, blocks: int = 2, together: bool = False) -> Method:
    return Method(name, name, _prepare_nothing, together, blocks)


def _prepare_nothing(job: Job) -> Train:
    def train(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        for position in reversed(range(len(configs))):
            yield position, configs[position]["learning_rate"]  # type: ignore[misc]

    return train


class Silent:
    def begins(self, method: str, what: str) -> None: ...

    def ended(self, method: str, seconds: float) -> None: ...


def empty(count: int = 6) -> Results:
    return Results(dict(SETTINGS), dict(ABOUT), draw_configs(FRUIT, FIXED, count, 0))


def planned_for(*names: str, count: int = 6) -> list[Planned]:
    methods = [fake(name) for name in names]
    return plan(methods, dict.fromkeys(names, count), dict.fromkeys(names, 2))


def block(method: str, number: int, seconds: Sequence[float], *, startup: float = 0.0, accuracy: float = 0.5) -> Block:
    trained = tuple(Trained(number * len(seconds) + i, s, accuracy) for i, s in enumerate(seconds))
    return Block(method, number, startup, trained)


def measured() -> Results:
    """Ours takes 1 s a trial and 4 to start, the expert 10 and 2, the notebook 20 and half of the list."""
    results = empty(4)
    results.blocks = [
        block("notebook", 0, [20, 20], accuracy=0.5),
        block("expert", 0, [10, 10], startup=2, accuracy=0.75),
        block("expert", 1, [10, 10], accuracy=0.75),
        block("ours", 0, [1, 1], startup=4, accuracy=0.7),
        block("ours", 1, [1, 1], accuracy=0.8),
    ]
    return results
