"""Drivers as processes on PostgreSQL, killed and stopped and left without their server: every trial ends once."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import optuna
import pytest

from studies import Study
from studies.attempts import TRAINS
from studies.records import RETRIES
from studies.storage import open_storage

from .driver_process import EPOCHS
from .postgres import Server
from .settings import settings_for
from .toy_plans import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet", "databases_closed")]

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 300.0
_LOOKS_FOR_EACH_TRIAL = 5


class Driver:
    """A process, and what it said so far; one that is `paced` trains one trial, then as many as it is let."""

    def __init__(self, url: str, trials: int, how: str, told: Counter[int], paced: bool = False) -> None:
        # A pipe that nobody reads would fill.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.studies.driver_process", url, str(trials), how],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE if paced else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._told = told
        self._rest = b""
        self.is_done = False
        self.said = 0

    def let(self, trials: int) -> None:
        """Lets it train so many more."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n" * trials)
        self._process.stdin.flush()

    def let_all(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def listen(self, seconds: float) -> None:
        """Counts what it says within so many seconds."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return
        self._take(os.read(self._process.stdout.fileno(), 65536))

    def waits(self, seconds: float) -> None:
        """Listens for that long, unless it has ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            assert self.is_done or self._process.poll() is None, self.said_wrong()
            self.listen(left)

    def _take(self, text: bytes) -> None:
        *lines, self._rest = (self._rest + text).split(b"\n")
        for line in lines:
            if line == b"done":
                self.is_done = True
            else:
                self._told[int(line.split()[0])] += 1
                self.said += 1

    def trains(self) -> None:
        """Returns once it has recorded another trial, or has nothing more to do."""
        before, end = self.said, time.monotonic() + _PATIENCE_SECONDS
        while self.said == before and not self.is_done:
            assert time.monotonic() < end, self.said_wrong()
            self.listen(0.2)
            assert self.is_done or self._process.poll() is None, self.said_wrong()

    def said_wrong(self) -> str:
        self._errors.seek(0)
        return f"exit code {self._process.poll()}: {self._errors.read().decode()}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._take(self._process.stdout.read())

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ends(self) -> str:
        """What it said on stderr, once it is through."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self.is_done:
            assert time.monotonic() < end
            self.listen(0.2)
            if self._process.poll() is not None and self._process.stdout is not None:
                self._take(self._process.stdout.read())
                break
        code = self._process.wait()
        self._errors.seek(0)
        errors = self._errors.read().decode()
        assert (self.is_done, code) == (True, 0), errors
        return errors

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        with self._process:  # closes its pipes
            self._errors.close()


def test_every_trial_ends_once_whatever_happens_to_the_drivers(postgres: Server, tmp_path: Path) -> None:
    # The first driver leaves trials for all that happens, however fast the machine is.
    trials, kills, trials_between_kills = 90, 10, 3
    url = postgres.new_database()
    Study.create("s", url, settings_for(STAGES, epochs=EPOCHS, trials=trials), STAGES.recipe)
    generator, told = random.Random(0), Counter[int]()
    first = Driver(url, trials, "runs", told, paced=True)
    drivers = [first]
    try:
        first.trains()
        for kill in range(kills):
            first.let(trials_between_kills)
            other = Driver(url, trials, "joins", told)
            drivers.append(other)
            for _ in range(generator.randint(1, 2)):
                other.trains()
            other.kill()
            first.listen(0.0)
            if kill in (3, 6):
                drivers.append(Driver(url, trials, "joins", told, paced=True))
                stop_past_its_grace(first, drivers[-1], url)
            if kill == 5:
                postgres.kill()
                postgres.start()
        first.let_all()
        notes = first.ends()
    finally:
        for driver in drivers:
            driver.close()
    ended = optuna.load_study(study_name="s", storage=open_storage(url)).get_trials(deepcopy=False)
    complete = {trial.number for trial in ended if trial.state.name in ("COMPLETE", "PRUNED")}
    failed = {trial.number for trial in ended if trial.state.name == "FAIL"}
    retried = [trial.user_attrs[RETRIES] for trial in ended if RETRIES in trial.user_attrs]
    lost_twice = failed & {trial.number for trial in ended if RETRIES in trial.user_attrs}
    assert len(complete) + len(failed) == len(ended)
    assert len(complete) + len(lost_twice) == trials
    assert len(retried) == len(set(retried))
    assert set(retried) | lost_twice == failed
    # A driver that was killed may not have come to saying what it had recorded.
    assert set(told) <= complete
    assert set(told.values()) == {1}
    assert all(sorted(ended[number].intermediate_values) == list(range(1, EPOCHS + 1)) for number in complete)
    assert "what comes of it here is dropped" in notes


def stop_past_its_grace(driver: Driver, other: Driver, url: str) -> None:
    """Stops a driver until another one, which is paced, has taken one of its trials for lost."""
    other.trains()
    study = optuna.load_study(study_name="s", storage=open_storage(url))

    def states() -> dict[int, str]:
        """Of the trials of the one that did not join."""
        trials = study.get_trials(deepcopy=False)
        return {trial.number: trial.state.name for trial in trials if trial.system_attrs.get(TRAINS) is True}

    def running() -> set[int]:
        return {number for number, state in states().items() if state == "RUNNING"}

    held: set[int] = set()
    end, looks = time.monotonic() + _PATIENCE_SECONDS, 0
    try:
        while "FAIL" not in (now := [state for number, state in states().items() if number in held]):
            assert time.monotonic() < end, other.said_wrong()
            assert not driver.is_done
            assert not other.is_done
            if "RUNNING" not in now:
                # Right after it recorded one it is between two trials; and the server ends what it was told before.
                driver.send(signal.SIGCONT)
                driver.let(1)
                while not running():
                    assert time.monotonic() < end, driver.said_wrong()
                    assert not driver.is_done
                    driver.listen(0.0)
                driver.send(signal.SIGSTOP)
                held = running()
            # It looks for what was lost whenever it asks for a trial, and is to leave some for later.
            if looks % _LOOKS_FOR_EACH_TRIAL == 0:
                other.let(1)
            looks += 1
            other.waits(0.2)
    finally:
        driver.send(signal.SIGCONT)
        other.kill()
