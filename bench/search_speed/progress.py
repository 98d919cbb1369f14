"""How far it is and how long it will still take, on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

import rich.progress
from rich.console import Console

from .measure import Planned
from .methods import OURS
from .results import Results


class Progress:
    """A bar where stderr is a terminal, a line a block otherwise.

    The time left counts what every method still has to train at the speed it had so far.
    """

    def __init__(self, planned: Sequence[Planned], results: Results, growth: Sequence[int]) -> None:
        console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        # Not the console's, which FORCE_COLOR sets for log files too.
        self._terminal = sys.stderr.isatty()
        done = {(block.method, block.number) for block in results.blocks}
        self._left: Counter[str] = Counter()
        for block in planned:
            if (block.method.name, block.number) not in done:
                self._left[block.method.name] += len(block.configs)
        grown = {len(block.trained) for block in results.growth}
        self._left[OURS] += sum(count for count in growth if count not in grown)
        self._total = sum(self._left.values())
        self._spent: dict[str, list[float]] = {}
        for measured in results.blocks:
            self._spent.setdefault(measured.method, []).extend(one.seconds for one in measured.trained)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not self._terminal,
        )
        self._task = self._bar.add_task("", total=self._total, left="")
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begins(self, method: str, what: str) -> None:
        self._bar.update(self._task, description=f"{method}, {what}")
        if not self._terminal:
            self._bar.console.print(f"{time.monotonic() - self._started:7.0f} s  {method}, {what}  {self.left()}")

    def ended(self, method: str, seconds: float) -> None:
        self._spent.setdefault(method, []).append(seconds)
        self._left[method] -= 1
        self._bar.update(self._task, advance=1, left=self.left())

    def left(self) -> str:
        """Nothing before every method has shown how fast it is."""
        seconds = self.seconds_left()
        return "" if seconds is None else f"about {math.ceil(seconds / 60)} min left"

    def seconds_left(self) -> float | None:
        means = {name: sum(spent) / len(spent) for name, spent in self._spent.items() if spent}
        if any(count and name not in means for name, count in self._left.items()):
            return None
        return sum(count * means[name] for name, count in self._left.items() if count)
