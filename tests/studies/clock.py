"""Time for tests of waiting: it passes only where somebody sleeps."""

from __future__ import annotations

from dataclasses import dataclass

from studies.patience import Patience


@dataclass
class Clock:
    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patience(self, notes: list[str], limit: float | None = None) -> Patience:
        return Patience(limit=limit, note=notes.append, sleep=self.sleep, clock=lambda: self.now)
