"""Runs a study to its end through workers and drivers that are killed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .ledger import Ledger
from .life import Life, Process
from .place import Orders, Place
from .said import Said

# A driver that says nothing for so long will not say anything any more.
_SILENCE_SECONDS = 300.0
# Kills fall in the first part of a study, so that there is something left to go on with.
_STRUCK_PART = 0.4
# About as long as a trial takes, so that kills fall anywhere in one.
_LATEST_SECONDS = 0.2
# Of the kills of workers. The others hit any worker, and many a one that is only starting: that takes longer than a
# trial here.
_TRAINING_SHARE = 0.5
_KILLED = -9


@dataclass(frozen=True)
class Strike:
    """A kill when so many trials have ended, and some seconds later: of the driver, or else of a worker, one that is
    training or any."""

    ended: int
    later: float
    is_driver: bool
    is_training: bool


def strikes(trials: int, kills: int, driver_kills: int, seed: int) -> list[Strike]:
    """In the order in which they come."""
    generator = random.Random(seed)
    last = int(trials * _STRUCK_PART)
    drawn = [
        Strike(
            generator.randint(0, last),
            generator.uniform(0, _LATEST_SECONDS),
            is_driver=number < driver_kills,
            is_training=generator.random() < _TRAINING_SHARE,
        )
        for number in range(kills + driver_kills)
    ]
    return sorted(drawn, key=lambda strike: strike.ended)


class Disturbed:
    """A study under strikes, and what is measured of it. Without strikes it is a study like any other."""

    def __init__(self, place: Place, strikes: Sequence[Strike] = (), seed: int = 0) -> None:
        self.place = place
        self.ledger = Ledger()
        self.worker_kills = self.driver_kills = 0
        self.recovered: list[float] = []
        """Seconds from the kill of a worker until its trial was training again."""
        self.recovered_drivers: list[float] = []
        """Seconds from the kill of a driver until a trial was training again."""
        self.refusals: list[str] = []
        """What drivers said that could not go on."""
        self.processes: list[Process] = []
        self.seconds = 0.0
        self._strikes = list(strikes)
        self._generator = random.Random(seed)
        self._due: float | None = None
        # When workers were killed, by their numbers; and when trials that are not training again yet lost theirs.
        self._killed: dict[int, float] = {}
        self._waiting: dict[int, float] = {}
        self._driver_killed: float | None = None
        # The workers that are known to train a trial.
        self._training: set[int] = set()
        self.ledger.left(place.trials(), unheard=0)

    def run(self, orders: Orders) -> None:
        """Starts a driver, and another one after each that is killed, until one ends by itself."""
        started = time.monotonic()
        while (code := self.live(orders)) == _KILLED:
            pass
        if code:
            self.ledger.problems.append(f"a driver ended with exit code {code}: see {self.place.errors}")
        self.seconds += time.monotonic() - started

    def live(self, orders: Orders) -> int:
        """The exit code of one driver."""
        self._due, last = None, time.monotonic()
        for of_this_life in (self._killed, self._waiting, self._training):
            of_this_life.clear()
        with Life(self.place, orders) as life:
            while (said := life.heard(self._patience())) is not None:
                for one in said:
                    self._take(one)
                last = time.monotonic() if said else last
                if time.monotonic() - last > _SILENCE_SECONDS:
                    self.ledger.problems.append(f"a driver was silent for {_SILENCE_SECONDS:g} seconds")
                    break
                if self._is_due(life):
                    self._strike(life)
            self.processes += life.processes
            # With one trial at each worker, a kill comes between the record of one end and its telling. One that has
            # to stop may record the ends of all others then.
            code = life.code if said is None else 0
        self.ledger.left(self.place.trials(), unheard=1 if code == _KILLED else orders.workers)
        return code

    # --- kills

    def _patience(self) -> float:
        return 1.0 if self._due is None else self._due - time.monotonic()

    def _is_due(self, life: Life) -> bool:
        if not self._strikes or not life.is_at_work or self.ledger.ended < self._strikes[0].ended:
            return False
        if self._due is None and self._training:
            self._due = time.monotonic() + self._strikes[0].later
        return self._due is not None and time.monotonic() >= self._due

    def _strike(self, life: Life) -> None:
        self._due = None
        if self._strikes[0].is_driver:
            self._driver_killed = life.kill()
            self.driver_kills += 1
        else:
            workers = life.workers()
            victims = sorted(workers.keys() & self._training if self._strikes[0].is_training else workers)
            if not victims:  # it waits for the next one
                return
            worker = self._generator.choice(victims)
            self._killed[worker] = time.monotonic()
            workers[worker].kill()
            self._training.discard(worker)
            self.worker_kills += 1
        self._strikes.pop(0)

    # --- what is said

    def _take(self, said: Said) -> None:
        self.ledger.take(said)
        if said.event == "training":
            self._training.add(said.worker)
        if said.event in ("ended", "lost") or said.ended:
            self._training.discard(said.worker)
        if said.event == "lost":
            killed = self._killed.pop(said.worker, None)
            if killed is not None and self.ledger.goes_on(said.trial):
                self._waiting.setdefault(said.trial, killed)
        if said.event == "training":
            if (killed := self._waiting.pop(said.trial, None)) is not None:
                self.recovered.append(said.at - killed)
            if self._driver_killed is not None:
                self.recovered_drivers.append(said.at - self._driver_killed)
                self._driver_killed = None
